"""A dataset that is read once, in parallel, and then held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from stoker.data.gather import TensorRows
from stoker.data.sizes import sample_bytes
from stoker.errors import ArgumentError, MemoryLimitError

_PROBED = 32  # samples spread over the dataset, from which its size is estimated before it is read


class InMemory(torch.utils.data.Dataset[Any]):
    """All samples of `dataset`, read once by `num_threads` threads. Samples that are tensors of one shape are stacked: the bulk path.

    Samples are kept as they are when read, so random transforms would be frozen: put those behind it, not in front.
    Whoever gets a sample gets a copy.

    Args:
        dataset: a map-style dataset.
        limit_bytes: how much memory it may take.
        num_threads: threads that read; reading and decoding release the GIL.
        progress: called with (samples read, samples in all) as reading goes on.

    Raises:
        MemoryLimitError: it does not fit; says how much it needs, and how much it may take.
        ArgumentError: the dataset draws random numbers.
    """

    draws_randomness = False

    def __init__(
        self,
        dataset: Any,
        *,
        limit_bytes: int,
        num_threads: int = 4,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        if limit_bytes < 1 or num_threads < 1:
            raise ArgumentError(f"limit_bytes and num_threads must be at least 1; got {limit_bytes} and {num_threads}.")
        length = len(dataset)
        _refuse_what_cannot_fit(dataset, length, limit_bytes)
        self._single = False
        self._columns: list[TensorRows] | None = None
        self._samples: list[Any] | None = None
        samples: list[Any] = []
        total = 0
        for sample in _read_all(dataset, length, num_threads):
            total += sample_bytes(sample)
            if total > limit_bytes:
                raise MemoryLimitError(
                    f"the dataset does not fit: its first {len(samples) + 1:,} of {length:,} samples take {total:,} bytes, and the limit "
                    f"is {limit_bytes:,}. Raise limit_bytes, or read a part of it (Subset, select)."
                )
            samples.append(sample)
            if progress is not None:
                progress(len(samples), length)
        self._keep(samples)
        self._length = length
        self.num_bytes = total

    def _keep(self, samples: list[Any]) -> None:
        rows = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
        if not rows or not _stackable(rows):
            self._samples = samples
            return
        self._single = not isinstance(samples[0], tuple)
        columns = list(zip(*rows, strict=True))
        self._numbers = [type(column[0]) in (int, float, bool) for column in columns]
        self._columns = [TensorRows(default_collate(list(column))) for column in columns]
        self.get_batch = self._get_batch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        if self._samples is not None:
            return _copy(self._samples[index])
        assert self._columns is not None
        position = np.array([range(self._length)[index]], np.int64)
        values = tuple(
            column.gather(position)[0].item() if number else column.gather(position)[0]
            for column, number in zip(self._columns, self._numbers, strict=True)
        )
        return values[0] if self._single else values

    def _get_batch(self, indices: NDArray[np.int64]) -> Any:
        assert self._columns is not None
        batch = [column.gather(indices) for column in self._columns]
        return batch[0] if self._single else batch


def _refuse_what_cannot_fit(dataset: Any, length: int, limit_bytes: int) -> None:
    if getattr(dataset, "draws_randomness", False):
        raise ArgumentError(
            "the dataset draws random numbers, which would be frozen by reading it once; hold its source, and map that."
        )
    probed = range(0, length, max(1, length // _PROBED)) if length > 4 * _PROBED else range(0)
    if not probed:
        return
    estimate = int(np.mean([sample_bytes(dataset[index]) for index in probed]) * length)
    if estimate > 1.25 * limit_bytes:  # an estimate; what is closer is read until it does not fit
        raise MemoryLimitError(
            f"the dataset does not fit: {len(probed)} of its {length:,} samples suggest about {estimate:,} bytes in all, and the limit "
            f"is {limit_bytes:,}. Raise limit_bytes, or read a part of it (Subset, select)."
        )


def _read_all(dataset: Any, length: int, num_threads: int) -> Iterator[Any]:
    """All samples in order; a bounded number of them is being read."""
    indices = iter(range(length))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="stoker-read") as pool:
        pending = [pool.submit(dataset.__getitem__, index) for index in islice(indices, 4 * num_threads)]
        while pending:
            yield pending.pop(0).result()
            pending += [pool.submit(dataset.__getitem__, index) for index in islice(indices, 1)]


def _stackable(rows: list[tuple[Any, ...]]) -> bool:
    """Whether every column is numbers of one type, or tensors or arrays of one dtype and shape."""
    return (
        all(
            len({_signature(row[c]) if c < len(row) else None for row in rows}) == 1 and _signature(rows[0][c])
            for c in range(len(rows[0]))
        )
        and len({len(row) for row in rows}) == 1
    )


def _signature(value: Any) -> Any:
    if type(value) in (int, float, bool):
        return type(value)
    if type(value) is torch.Tensor and not value.requires_grad:
        return type(value), value.dtype, tuple(value.shape)
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (tuple, list):
        return type(value)(_copy(element) for element in value)
    if type(value) is dict:
        return {key: _copy(element) for key, element in value.items()}
    return value
