"""The bulk path: datasets that hand out a collated batch in one go, without Python per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, StackDataset, Subset, TensorDataset, default_collate

from stoker.data.gather import TensorRows, is_plain
from stoker.data.hugging_face_batches import hugging_face_reader, is_hugging_face

GetBatch = Callable[[NDArray[np.int64]], Any]
"""int64 [batch] -> the collated batch, as ``default_collate`` would have it, in memory that is the caller's own."""


def bulk_reader(dataset: Any, collates_by_default: bool) -> GetBatch | None:
    """How to read `dataset` in bulk: its own `get_batch`, or what is known of torch's datasets; None where there is no way.

    torch's wrappers (Subset, ConcatDataset, StackDataset) are read in bulk where all that they wrap can be. A user's own
    collate function wants the samples, so nothing is read in bulk for it.
    """
    if not collates_by_default:
        return None
    own = getattr(dataset, "get_batch", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    reader = _READERS.get(type(dataset))
    if reader is not None:
        return reader(dataset)
    if _is_tensor_dataset(dataset):
        return _tensor_dataset_reader(dataset)
    if type(dataset) is torch.Tensor:
        return _tensor_reader(dataset)
    return hugging_face_reader(dataset) if is_hugging_face(dataset) else None


def _is_tensor_dataset(dataset: Any) -> bool:
    """Whether samples are what TensorDataset makes of its tensors: also in a subclass that only adds to it."""
    kind, reads = type(dataset), ("__getitem__", "__getitems__")
    return isinstance(dataset, TensorDataset) and all(
        getattr(kind, name, None) is getattr(TensorDataset, name, None) for name in reads
    )


def _tensor_dataset_reader(dataset: TensorDataset) -> GetBatch | None:
    if not all(is_plain(tensor) for tensor in dataset.tensors):
        return None
    columns, length = [TensorRows(tensor) for tensor in dataset.tensors], len(dataset)

    def get_batch(indices: NDArray[np.int64]) -> Any:
        try:
            return [column.gather(indices) for column in columns]
        except IndexError:  # a user's sampler may count from the end, as tensors do
            indices = _from_start(indices, length)
            return [column.gather(indices) for column in columns]

    return get_batch


def _tensor_reader(tensor: torch.Tensor) -> GetBatch | None:
    rows = _tensor_dataset_reader(TensorDataset(tensor)) if tensor.ndim else None
    return None if rows is None else lambda indices: rows(indices)[0]


def prefers_workers(dataset: Any) -> bool:
    """Whether reading a batch costs real work, as the dataset says, or one that torch's wrappers hold."""
    if type(dataset) is Subset:
        return prefers_workers(dataset.dataset)
    if type(dataset) in (ConcatDataset, StackDataset):
        parts = dataset.datasets
        return any(map(prefers_workers, parts.values() if isinstance(parts, dict) else parts))
    return bool(getattr(dataset, "prefers_workers", False))


def _subset_reader(subset: Subset[Any]) -> GetBatch | None:
    inner = bulk_reader(subset.dataset, True)
    chosen = np.asarray(subset.indices)
    if inner is None or chosen.dtype.kind != "i":
        return None
    chosen = chosen.astype(np.int64)

    def get_batch(indices: NDArray[np.int64]) -> Any:
        return inner(chosen[indices])

    return get_batch


def _from_start(indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.where(indices < 0, indices + length, indices)


def _stack_reader(stack: StackDataset[Any]) -> GetBatch | None:
    parts = stack.datasets
    readers = {name: bulk_reader(part, True) for name, part in _named(parts)}
    if not readers or None in readers.values():
        return None

    def get_batch(indices: NDArray[np.int64]) -> Any:
        columns = {name: reader(indices) for name, reader in readers.items() if reader is not None}
        return columns if isinstance(parts, dict) else list(columns.values())

    return get_batch


def _named(parts: Any) -> list[tuple[Any, Any]]:
    return list(parts.items()) if isinstance(parts, dict) else list(enumerate(parts))


def _concat_reader(dataset: ConcatDataset[Any]) -> GetBatch | None:
    found = [bulk_reader(part, True) for part in dataset.datasets]
    readers = [reader for reader in found if reader is not None]
    if len(readers) < len(found):
        return None
    ends = np.asarray(dataset.cumulative_sizes, np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])

    def get_batch(indices: NDArray[np.int64]) -> Any:
        indices = _from_start(indices, len(dataset))
        owner = np.searchsorted(ends, indices, side="right")
        owners = np.unique(owner).tolist()
        if len(owners) == 1:
            return readers[owners[0]](indices - starts[owners[0]])
        places = [np.flatnonzero(owner == part) for part in owners]
        parts = [readers[part](indices[rows] - starts[part]) for part, rows in zip(owners, places, strict=True)]
        try:
            return _merged(parts, [torch.from_numpy(rows) for rows in places], len(indices))
        except _UnlikeError:  # of other shapes or types: collating the samples gives what it can, or says what is wrong
            return default_collate([dataset[index] for index in indices.tolist()])

    return get_batch


_READERS: dict[type, Callable[[Any], GetBatch | None]] = {
    Subset: _subset_reader,
    StackDataset: _stack_reader,
    ConcatDataset: _concat_reader,
}
"""Wrappers, by exact type: a subclass may read its samples in a way of its own."""


class _UnlikeError(Exception):
    """Parts of a batch that cannot be put together by their structure."""


def _merged(parts: list[Any], places: list[torch.Tensor], num_rows: int) -> Any:
    """The batch of `num_rows` rows whose rows `places[i]` are those of ``parts[i]``."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return _merged_tensors(parts, places, num_rows)
    if {type(part) for part in parts} != {type(first)}:
        raise _UnlikeError
    if type(first) is dict:
        if any(part.keys() != first.keys() for part in parts):
            raise _UnlikeError
        return {name: _merged([part[name] for part in parts], places, num_rows) for name in first}
    if type(first) is not list or len({len(part) for part in parts}) != 1 or not _holds_columns(parts):
        raise _UnlikeError
    return [_merged(list(columns), places, num_rows) for columns in zip(*parts, strict=True)]


def _holds_columns(parts: list[Any]) -> bool:
    """Whether lists hold columns, and not the values of one column of strings."""
    return all(isinstance(column, torch.Tensor | list | dict) for part in parts for column in part)


def _merged_tensors(parts: list[Any], places: list[torch.Tensor], num_rows: int) -> torch.Tensor:
    first = parts[0]
    for part in parts:
        if not isinstance(part, torch.Tensor) or part.dtype is not first.dtype or part.shape[1:] != first.shape[1:]:
            raise _UnlikeError
    merged: torch.Tensor = first.new_empty((num_rows, *first.shape[1:]))
    for part, rows in zip(parts, places, strict=True):
        merged[rows] = part
    return merged
