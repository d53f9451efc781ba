"""A store's columns as arrays: NumPy's files, and HDF5. Written a row group at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.optional import require
from stoker.errors import ArgumentError
from stoker.packing.names import distinct_components
from stoker.packing.rows import Piece, array_dtype, as_array, common_shape, pieces
from stoker.store.reader import Reader
from stoker.store.schema import Column

_VLEN_TEXT = ("string", "json")
_DENSE_ATTRIBUTES = (
    "v108",
    "v110",
)  # older layouts hold no attribute of more than 64 KiB, and there may be many classes


def to_npy(reader: Reader, path: str, count: Callable[[int], object]) -> None:
    """Writes one array at `path`, or, of several columns, a folder of them.

    Raises:
        ArgumentError: a column's rows differ in shape, or are no numbers; names it.
    """
    columns = reader.manifest.schema.sample_columns
    shapes = {column.name: common_shape(reader, column) for column in columns}
    unfit = [f"{column.name} ({column.kind})" for column in columns if shapes[column.name] is None]
    if unfit:
        raise ArgumentError(
            f"an .npy holds rows of one shape, and these columns have none: {', '.join(unfit)}. Export to hdf5, tar or folder."
        )
    safe = distinct_components(shapes, folds_case=True)
    if len(columns) > 1:
        os.makedirs(path)
    targets = {}
    for column in columns:
        place = os.path.join(path, f"{safe[column.name]}.npy") if len(columns) > 1 else path
        shape = (reader.num_rows, *(shapes[column.name] or ()))
        targets[column.name] = np.lib.format.open_memmap(place, "w+", array_dtype(column), shape)
    for piece in pieces(reader):
        for column in columns:
            _put(targets[column.name], piece, column, shapes[column.name] or ())
        count(len(piece.rows))
    for target in targets.values():
        target.flush()


def _put(target: Any, piece: Piece, column: Column, shape: tuple[int, ...]) -> None:
    target[int(piece.rows[0]) : int(piece.rows[-1]) + 1] = piece.block(column, shape)


def to_hdf5(reader: Reader, path: str, count: Callable[[int], object]) -> None:
    """Writes an HDF5 file with a dataset for each column.

    Rows of one shape are a plain dataset, others of variable length: text as text, files and bytes as uint8, arrays flat,
    with their shapes in a dataset ``<column>.shape`` where they have several dimensions. Names of the samples are in
    ``_name``, those of the classes in the file's attribute ``classes``.

    Raises:
        MissingPackageError: h5py is not installed.
    """
    h5py = require("h5py", extra="hdf5")
    columns = reader.manifest.schema.columns
    shapes = {column.name: common_shape(reader, column) for column in columns}
    safe = distinct_components(shapes, folds_case=True)
    with h5py.File(path, "w", libver=_DENSE_ATTRIBUTES) as file:
        if reader.manifest.classes:
            names = [_text(name) for name in reader.manifest.classes]
            file.attrs.create("classes", names, dtype=h5py.string_dtype())
        for column in columns:
            _create(h5py, file, safe[column.name], column, reader.num_rows, shapes[column.name])
        for piece in pieces(reader):
            for column in columns:
                _write(file, safe[column.name], piece, column, shapes[column.name])
            count(len(piece.rows))


def _create(h5py: Any, file: Any, name: str, column: Column, num_rows: int, shape: tuple[int, ...] | None) -> None:
    if shape is not None:
        file.create_dataset(name, (num_rows, *shape), array_dtype(column))
        return
    kind = h5py.string_dtype() if column.kind in _VLEN_TEXT else h5py.vlen_dtype(array_dtype(column))
    file.create_dataset(name, (num_rows,), kind)
    if column.stores_shape:
        file.create_dataset(f"{name}.shape", (num_rows, column.num_shape_dims), np.int64)


def _write(file: Any, name: str, piece: Piece, column: Column, shape: tuple[int, ...] | None) -> None:
    if shape is not None:
        _put(file[name], piece, column, shape)
        return
    rows: NDArray[Any] = np.empty(len(piece.rows), object)
    for number, value in enumerate(_raw_cells(piece, column)):
        rows[number] = value
    first, end = int(piece.rows[0]), int(piece.rows[-1]) + 1
    file[name][first:end] = rows
    if column.stores_shape:
        file[f"{name}.shape"][first:end] = piece.shapes(column)


def _raw_cells(piece: Piece, column: Column) -> Any:
    """Values as HDF5 takes them: text as its bytes, everything else as a flat array."""
    if column.kind in _VLEN_TEXT:
        data, bounds = piece.reader.copy(column, piece.places)
        return (data[start:end].tobytes() for start, end in pairwise(bounds.tolist()))
    if column.kind in ("bytes", "image"):
        return (np.frombuffer(value, np.uint8) for value in piece.cells(column))
    return (as_array(value).reshape(-1) for value in piece.cells(column))


def _text(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
