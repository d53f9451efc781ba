"""The rows of a store in the order in which they stand, a row group at a time: for those who go through all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.packed import Packed
from stoker.errors import StoreError
from stoker.store.cells import decode_cell
from stoker.store.manifest import MANIFEST
from stoker.store.reader import Places, Reader
from stoker.store.schema import Column, Schema

_LABELS = ("label", "cls", "class", "target")


@dataclass(frozen=True)
class Piece:
    """Consecutive rows, int64: those of one row group, which fits in memory."""

    reader: Reader
    rows: NDArray[np.int64]

    @cached_property
    def places(self) -> Places:
        """Where the reader finds them."""
        return self.reader.find(self.rows)

    def cells(self, column: Column) -> Iterator[Any]:
        """Each row's value, in private memory."""
        data, bounds = self.reader.copy(column, self.places)
        shapes = self.reader.shapes(column, self.places).tolist() if column.stores_shape else None
        for number, (start, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            yield decode_cell(column, data[start:end], tuple(shapes[number]) if shapes else ())

    def block(self, column: Column, shape: tuple[int, ...]) -> NDArray[Any]:
        """All rows of a column whose rows have one shape: [rows, *shape], of `array_dtype`."""
        data, _ = self.reader.copy(column, self.places)
        return as_numpy(column, data.view(column.carrier).reshape(len(self.rows), *shape))

    def shapes(self, column: Column) -> NDArray[np.int64]:
        """The shape of each row of a column of arrays, int64 [rows, dimensions]."""
        if column.stores_shape:
            return self.reader.shapes(column, self.places).astype(np.int64)
        if not column.is_varying:
            return np.tile(np.array(column.shape, np.int64), (len(self.rows), 1))
        return self.reader.spans(column, self.places).lengths[:, None] // column.carrier.itemsize


def open_reader(store: str | os.PathLike[str] | Packed) -> Reader:
    """Opens a store to go through it; each row group is checked when it is first read.

    Raises:
        StoreError: it is damaged, or none.
    """
    root = store.root if isinstance(store, Packed) else os.fspath(store)
    try:
        return Reader(root, check=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{root} is no packed store: it has no {MANIFEST}{_hint(root)}.") from error


def _hint(root: str) -> str:
    partial = root if root.rstrip("/").endswith(".partial") else f"{root.rstrip('/')}.partial"
    return "; a pack into it was not completed: the same command goes on" if os.path.isdir(partial) else ""


def pieces(reader: Reader) -> Iterator[Piece]:
    """All rows, in order."""
    start = 0
    for shard in reader.manifest.shards:
        for group in shard.groups:
            yield Piece(reader, np.arange(start, start + group.num_rows, dtype=np.int64))
            start += group.num_rows


def common_shape(reader: Reader, column: Column) -> tuple[int, ...] | None:
    """The shape of every row of a column of numbers or pixels; None where rows differ, or are no arrays."""
    if column.kind not in ("scalar", "tensor", "ragged", "pixels"):
        return None
    if not column.is_varying:
        return column.shape
    found: set[tuple[int, ...]] = set()
    for piece in pieces(reader):
        found.update(map(tuple, np.unique(piece.shapes(column), axis=0).tolist()))
        if len(found) > 1:
            return None
    return found.pop() if found else None


def array_dtype(column: Column) -> np.dtype[Any]:
    """NumPy's dtype for a column's numbers; bfloat16, which it lacks, becomes float32, which holds all of its values."""
    return np.dtype({"bool": np.bool_, "bfloat16": np.float32}.get(column.dtype, column.carrier))


def as_numpy(column: Column, carried: NDArray[Any]) -> NDArray[Any]:
    """An array of carriers as one of `array_dtype`."""
    if column.dtype == "bfloat16":
        return (carried.astype(np.uint32) << 16).view(np.float32)
    return carried.view(np.bool_) if column.dtype == "bool" else carried


def as_array(value: Any) -> NDArray[Any]:
    """A decoded value of numbers as an array."""
    if isinstance(value, torch.Tensor):
        return np.asarray((value.float() if value.dtype is torch.bfloat16 else value).numpy())
    return np.asarray(value)


def label_column(schema: Schema, *, has_classes: bool) -> Column | None:
    """The column that says of which class a sample is: by its name, or the only one that can be, where there are classes."""
    whole = [c for c in schema.sample_columns if c.kind == "scalar" and "int" in c.dtype]
    named = [column for name in _LABELS for column in whole if column.name == name]
    return next(iter(named or (whole if has_classes and len(whole) == 1 else [])), None)
