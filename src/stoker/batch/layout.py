"""Layout: what a row of a batch looks like, so that workers can write rows straight into a batch.

torch's ``default_collate`` stacks the samples of a batch. Where every sample is a nest of tuples, lists and dicts whose
leaves are arrays and numbers, stacking needs no list of samples: each row can be written to its place in the batch as
soon as it exists, by whichever worker made it. A `Layout` is learned from one sample, by asking ``default_collate``
itself what it makes of it, and it is the same for every worker that sees a sample of the same structure.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from stoker.batch.carriers import carrier_of

_ALIGNMENT = 64  # bytes; a cache line, and what torch's own CPU allocator aligns to

_STACKED_BYTES = 64 << 10  # of rows that are collected and stacked together: they stay in the cache


class MisfitError(Exception):
    """A sample that cannot be written as a row of the layout: the whole batch has to be collated instead."""


@dataclass(frozen=True)
class _Place:
    """Stands for leaf `index` in the structure of a batch."""

    index: int


@dataclass(frozen=True)
class Leaf:
    """One array of a batch: `source` is the type that each sample must hold there, exactly.

    `carrier` is the NumPy dtype that the bytes are handled as, `dtype` the torch dtype of the batch, `shape` that of a
    row.
    """

    source: type
    dtype: torch.dtype
    source_dtype: str
    carrier: str
    shape: tuple[int, ...]

    @cached_property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.carrier).itemsize


@dataclass(frozen=True, eq=False)
class Layout:
    """The structure of a batch: `structure` is what ``default_collate`` returns, with a `_Place` for each array."""

    structure: Any
    leaves: tuple[Leaf, ...]
    _offsets: dict[int, tuple[tuple[int, ...], int]] = field(default_factory=dict, repr=False)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row over all leaves."""
        return sum(leaf.row_bytes for leaf in self.leaves)

    def offsets(self, num_rows: int) -> tuple[tuple[int, ...], int]:
        """Where each leaf of a batch of `num_rows` begins, and the bytes of the whole batch."""
        known = self._offsets.get(num_rows)
        if known is None:
            offsets, end = [], 0
            for leaf in self.leaves:
                offsets.append(end)
                end += -(-leaf.row_bytes * num_rows // _ALIGNMENT) * _ALIGNMENT
            known = self._offsets[num_rows] = (tuple(offsets), end)
        return known

    @cached_property
    def data(self) -> bytes:
        """The layout as bytes that are equal for equal layouts."""
        return pickle.dumps((self.structure, self.leaves), protocol=5)

    @cached_property
    def digest(self) -> int:
        """A 63-bit fingerprint, equal for equal layouts in any process."""
        return int.from_bytes(hashlib.blake2b(self.data, digest_size=8).digest(), "little") >> 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.data == other.data

    def __hash__(self) -> int:
        return self.digest

    @staticmethod
    def from_bytes(data: bytes) -> Layout:
        structure, leaves = pickle.loads(data)
        return Layout(structure, leaves)

    def assemble(self, leaves: list[torch.Tensor]) -> Any:
        """The batch that holds `leaves`, in the containers that ``default_collate`` would have made."""
        return _assemble(self.structure, leaves)


def infer_layout(sample: Any) -> Layout | None:
    """The layout of batches of samples like `sample`; None where only a real collate can tell (strings, other types)."""
    found: list[Any] = []
    try:
        structure = _outline(default_collate([sample]), sample, found)
    except (MisfitError, TypeError, RuntimeError, ValueError):
        return None  # default_collate itself will say what is wrong, in its own words, when it sees the batch
    return Layout(structure, tuple(found)) if found else None


def _outline(batch: Any, sample: Any, found: list[Leaf]) -> Any:
    if isinstance(batch, torch.Tensor):
        found.append(_leaf(batch, sample))
        return _Place(len(found) - 1)
    if type(sample) is dict and type(batch) is dict:
        return {key: _outline(batch[key], value, found) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields") and type(batch) is type(sample):
        return type(batch)(*(_outline(b, s, found) for b, s in zip(batch, sample, strict=True)))
    if type(sample) in (tuple, list) and type(batch) is list:
        return [_outline(b, s, found) for b, s in zip(batch, sample, strict=True)]
    raise MisfitError


def _leaf(batch: torch.Tensor, sample: Any) -> Leaf:
    kind = type(sample)
    if batch.layout is not torch.strided or batch.device.type != "cpu" or batch.requires_grad or batch.is_quantized:
        raise MisfitError
    if kind is torch.Tensor:
        source_dtype = str(sample.dtype)
        if sample.is_conj() or sample.is_neg():
            raise MisfitError
    elif isinstance(sample, np.ndarray | np.generic):
        source_dtype = sample.dtype.str
    elif kind in (int, float, bool):
        source_dtype = ""
    else:
        raise MisfitError
    try:
        carrier = batch.numpy().dtype
    except TypeError:
        carrier = carrier_of(batch.dtype)
    return Leaf(kind, batch.dtype, source_dtype, carrier.str, tuple(batch.shape[1:]))


def _assemble(structure: Any, leaves: list[torch.Tensor]) -> Any:
    if type(structure) is _Place:
        return leaves[structure.index]
    if type(structure) is list:
        return [_assemble(part, leaves) for part in structure]
    if type(structure) is dict:
        return {key: _assemble(part, leaves) for key, part in structure.items()}
    return type(structure)(*(_assemble(part, leaves) for part in structure))


class RowWriter:
    """Writes samples as rows of a batch of `num_rows` that lives in `memory` (uint8, at least `layout.offsets` bytes).

    `rows_at_once` is how many samples should be collected for one `write`: small rows are stacked together, a large one
    is written while it is still in the cache. Not thread-safe for one row; different rows may be written by different
    threads or processes.
    """

    def __init__(self, layout: Layout, memory: NDArray[np.uint8], num_rows: int) -> None:
        offsets, _ = layout.offsets(num_rows)
        self._structure = layout.structure
        self.rows_at_once = max(1, _STACKED_BYTES // max(1, layout.row_bytes))
        self._arrays = [
            memory[offset : offset + leaf.row_bytes * num_rows].view(leaf.carrier).reshape((num_rows, *leaf.shape))
            for leaf, offset in zip(layout.leaves, offsets, strict=True)
        ]
        self._columns = [_column(leaf, array) for leaf, array in zip(layout.leaves, self._arrays, strict=True)]

    def write(self, start: int, samples: Sequence[Any]) -> None:
        """Writes `samples` as the rows from `start` on; raises MisfitError when one does not fit the layout."""
        _write(self._structure, samples, self._columns, start)

    def arrays(self, start: int, stop: int) -> list[NDArray[Any]]:
        """Each leaf's rows ``[start, stop)`` as an array of its carrier, to be written directly."""
        return [array[start:stop] for array in self._arrays]


class _TensorColumn:
    """A leaf whose samples are tensors."""

    def __init__(self, leaf: Leaf, array: NDArray[Any]) -> None:
        self._dtype, self._shape = leaf.dtype, leaf.shape
        self._tensor = torch.from_numpy(array)
        self._array: NDArray[Any] | None = array
        if self._tensor.dtype is not leaf.dtype:  # no NumPy counterpart
            self._tensor, self._array = self._tensor.view(leaf.dtype), None

    def write(self, start: int, values: Sequence[Any]) -> None:
        first = values[0]
        if (
            {*map(type, values)} != {torch.Tensor}
            or {*map(_dtype, values)} != {self._dtype}
            or first.shape != self._shape
        ):
            raise MisfitError
        if len(values) == 1 and self._array is not None and first.is_cpu and not first.requires_grad:
            self._array[start] = first.numpy()  # half the cost of a stack of one
            return
        try:
            torch.stack(values, out=self._tensor.narrow(0, start, len(values)))  # type: ignore[arg-type]
        except RuntimeError as error:  # other shapes, devices, or gradients
            raise MisfitError from error


class _ArrayColumn:
    """A leaf whose samples are NumPy arrays or scalars."""

    def __init__(self, leaf: Leaf, array: NDArray[Any]) -> None:
        self._kind, self._array = leaf.source, array
        self._like = (np.dtype(leaf.source_dtype), leaf.shape)

    def write(self, start: int, values: Sequence[Any]) -> None:
        if {*map(type, values)} != {self._kind} or any((value.dtype, value.shape) != self._like for value in values):
            raise MisfitError
        if len(values) == 1:
            self._array[start] = values[0]
        else:
            np.stack(values, out=self._array[start : start + len(values)])


class _NumberColumn:
    """A leaf whose samples are Python's numbers."""

    def __init__(self, leaf: Leaf, array: NDArray[Any]) -> None:
        self._kind, self._array = leaf.source, array

    def write(self, start: int, values: Sequence[Any]) -> None:
        if {*map(type, values)} != {self._kind}:
            raise MisfitError
        try:
            self._array[start : start + len(values)] = values
        except OverflowError as error:
            raise MisfitError from error


_Column = _TensorColumn | _ArrayColumn | _NumberColumn
_dtype = attrgetter("dtype")


def _column(leaf: Leaf, array: NDArray[Any]) -> _Column:
    if leaf.source is torch.Tensor:
        return _TensorColumn(leaf, array)
    return _ArrayColumn(leaf, array) if leaf.source_dtype else _NumberColumn(leaf, array)


def _write(structure: Any, samples: Sequence[Any], columns: list[_Column], start: int) -> None:
    kind = type(structure)
    if kind is _Place:
        columns[structure.index].write(start, samples)
    elif kind is dict:
        if any(type(sample) is not dict or sample.keys() != structure.keys() for sample in samples):
            raise MisfitError
        for key, part in structure.items():
            _write(part, [sample[key] for sample in samples], columns, start)
    else:
        expected = (tuple, list) if kind is list else (kind,)
        if any(type(sample) not in expected or len(sample) != len(structure) for sample in samples):
            raise MisfitError
        for part, values in zip(structure, zip(*samples, strict=True), strict=True):
            _write(part, values, columns, start)


def view_batch(layout: Layout, memory: NDArray[np.uint8], num_rows: int) -> list[torch.Tensor]:
    """The leaves of a batch in `memory`, as tensors that share it and keep it alive through its `base`."""
    offsets, _ = layout.offsets(num_rows)
    leaves = []
    for leaf, offset in zip(layout.leaves, offsets, strict=True):
        raw = memory[offset : offset + leaf.row_bytes * num_rows].view(leaf.carrier)
        tensor = torch.from_numpy(raw.reshape((num_rows, *leaf.shape)))
        leaves.append(tensor if tensor.dtype is leaf.dtype else tensor.view(leaf.dtype))
    return leaves
