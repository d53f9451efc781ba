"""Values out of Arrow arrays: the cells of a column in a block of rows.

Offsets are read as NumPy arrays and values sliced by NumPy, which checks bounds: a hostile file can give wrong values,
never memory that is not its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.arrow_kinds import Kind
from stoker.data.optional import require
from stoker.errors import DataError
from stoker.image.decode import EncodedImage

NameRow = Callable[[int], str]
"""The number of a row in a block -> what errors call it."""


class Cells:
    """A column in a block of rows. Thread-safe; values are private memory."""

    def __init__(self, column: str, valid: NDArray[np.bool_] | None, name_row: NameRow) -> None:
        self._column, self._valid, self._name_row = column, valid, name_row

    def is_null(self, row: int) -> bool:
        return self._valid is not None and not self._valid[row]

    def cell(self, row: int) -> Any:
        """The value in a row. Raises DataError where it is null."""
        if self.is_null(row):
            raise self._error(row, "is null; fill it, or leave such rows out when the data is written")
        return self._value(row)

    def cells(self, rows: NDArray[np.int64]) -> Any:
        """The values of `rows`: an array [len(rows), ...] of numbers, else a list."""
        if self._valid is not None and not self._valid[rows].all():
            self.cell(int(rows[np.flatnonzero(~self._valid[rows])[0]]))
        return self._values(rows)

    def _value(self, row: int) -> Any:
        raise NotImplementedError

    def _values(self, rows: NDArray[np.int64]) -> Any:
        return [self._value(row) for row in rows.tolist()]

    def _error(self, row: int, what: str) -> DataError:
        return DataError(f"column {self._column!r} {what}: in {self._name_row(row)}.")


class _Numbers(Cells):
    def __init__(self, kind: Kind, array: Any, column: str, name_row: NameRow) -> None:
        child, width = array, 1
        for size in _list_sizes(array.type):
            child = child.values.slice(child.offset * size, len(child) * size)
            width *= size
        numbers, valid = _numbers(child)
        masks = [_valid(array), None if valid is None else valid.reshape(len(array), width).all(1)]
        known = [mask for mask in masks if mask is not None]
        super().__init__(column, np.logical_and.reduce(known) if known else None, name_row)
        self._numbers = numbers.reshape(len(array), *kind.shape)

    def _value(self, row: int) -> Any:
        return self._numbers[row].copy()

    def _values(self, rows: NDArray[np.int64]) -> Any:
        return self._numbers[rows]


class _Lists(Cells):
    def __init__(self, array: Any, column: str, name_row: NameRow) -> None:
        super().__init__(column, _valid(array), name_row)
        self._bounds = array.offsets.to_numpy()
        self._numbers, self._valid_numbers = _numbers(array.values)

    def _value(self, row: int) -> Any:
        place = slice(self._bounds[row], self._bounds[row + 1])
        if self._valid_numbers is not None and not self._valid_numbers[place].all():
            raise self._error(row, "has a null in its list; fill it, or leave such rows out when the data is written")
        return self._numbers[place].copy()


class _Strings(Cells):
    """Strings and bytes."""

    def __init__(self, is_text: bool, array: Any, column: str, name_row: NameRow) -> None:
        super().__init__(column, _valid(array), name_row)
        self._is_text = is_text
        self._bounds, self._data = _bounds_and_data(array)

    def _value(self, row: int) -> Any:
        data = bytes(self._data[self._bounds[row] : self._bounds[row + 1]])
        if not self._is_text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self._error(row, f"is no UTF-8 ({error})") from error


class _Images(Cells):
    """Encoded images: their bytes, or the path of a file where `follow_paths` allows it."""

    def __init__(self, array: Any, column: str, name_row: NameRow, follow_paths: bool) -> None:
        super().__init__(column, _valid(array), name_row)
        self._bytes, self._paths = (
            _Strings(name == "path", array.field(name), column, name_row) for name in ("bytes", "path")
        )
        self._follow_paths = follow_paths

    def _value(self, row: int) -> EncodedImage:
        path = None if self._paths.is_null(row) else self._paths.cell(row)
        if not self._bytes.is_null(row):
            return EncodedImage(self._bytes.cell(row), path or f"{self._column} of {self._name_row(row)}")
        if path is None or not self._follow_paths:
            raise self._error(row, f"has no bytes{f', only the path {path}' if path else ''}")
        try:
            with open(path, "rb", buffering=0) as file:
                return EncodedImage(file.readall(), path)
        except OSError as error:
            raise self._error(row, f"names the file {path}, which cannot be read ({error.strerror})") from error


class _Nested(Cells):
    """What Arrow makes of a value in Python."""

    def __init__(self, array: Any, column: str, name_row: NameRow) -> None:
        super().__init__(column, _valid(array), name_row)
        array.validate(full=True)
        self._array = array

    def _value(self, row: int) -> Any:
        return self._array[row].as_py()


def cells_of(kind: Kind, array: Any, column: str, name_row: NameRow, follow_paths: bool = False) -> Cells:
    """The cells of an Arrow array (or chunked array) of this kind.

    Raises:
        DataError: its buffers do not fit its length.
    """
    pa = require("pyarrow")
    try:
        array = _plain(array)
        array.validate()
        if kind.name == "number":
            return _Numbers(kind, array, column, name_row)
        if kind.name == "list":
            return _Lists(array, column, name_row)
        if kind.name == "image":
            return _Images(array, column, name_row, follow_paths)
        if kind.name == "nested":
            return _Nested(array, column, name_row)
        return _Strings(kind.name == "str", array, column, name_row)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"column {column!r} is damaged: {error}: in the rows around {name_row(0)}.") from error


def _plain(array: Any) -> Any:
    """One array of plain values: chunks joined, dictionaries looked up, views and extensions turned into what they stand for."""
    pa = require("pyarrow")
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else _joined(array)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array.validate(full=True)  # decoding trusts the indices
        array = array.dictionary_decode()
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array.validate(full=True)
        array = array.cast(pa.large_string() if pa.types.is_string_view(array.type) else pa.large_binary())
    return array


def _joined(chunks: Any) -> Any:
    pa = require("pyarrow")
    try:
        return chunks.combine_chunks()
    except pa.ArrowInvalid:  # more than 2 GiB of strings, whose offsets have 32 bits
        wider = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
        return chunks.cast(wider.get(chunks.type, chunks.type)).combine_chunks()


def _list_sizes(type_: Any) -> Sequence[int]:
    sizes = []
    while require("pyarrow").types.is_fixed_size_list(type_):
        sizes.append(type_.list_size)
        type_ = type_.value_type
    return sizes


def uniform_rows(array: Any) -> NDArray[Any] | None:
    """An array of numbers, or of lists of them that are all of one length, as [rows, ...]; None where it is another, or has nulls.

    Shares Arrow's memory, except for booleans, which are bits there.
    """
    pa = require("pyarrow")
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    types = pa.types
    if array.null_count:
        return None
    if types.is_fixed_size_list(array.type):
        size, child = array.type.list_size, array.values.slice(array.offset * array.type.list_size)
        child = child.slice(0, len(array) * size)
    elif types.is_list(array.type) or types.is_large_list(array.type):
        lengths = np.diff(array.offsets.to_numpy())
        size = int(lengths[0]) if len(lengths) else 0
        if (lengths != size).any():
            return None
        child = array.flatten()
    elif types.is_boolean(array.type) or types.is_integer(array.type) or types.is_floating(array.type):
        return np.ascontiguousarray(array.to_numpy(zero_copy_only=False))
    else:
        return None
    inner = uniform_rows(child)
    return (
        None if inner is None or len(inner) != len(array) * size else inner.reshape(len(array), size, *inner.shape[1:])
    )


def _numbers(array: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Numbers, and which of them are not null; None where all are."""
    valid = _valid(array)
    filled = array if valid is None else array.fill_null(False if array.type == require("pyarrow").bool_() else 0)
    return filled.to_numpy(zero_copy_only=False), valid


def _valid(array: Any) -> NDArray[np.bool_] | None:
    return array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None


def _bounds_and_data(array: Any) -> tuple[NDArray[Any], memoryview]:
    """Where each string begins and ends, and the bytes of all."""
    types = require("pyarrow").types
    _, *buffers = array.buffers()
    if types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        return np.arange(array.offset, array.offset + len(array) + 1) * width, memoryview(buffers[0] or b"")
    wide = types.is_large_string(array.type) or types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    if not len(array):
        return np.zeros(1, dtype), memoryview(b"")
    bounds = np.frombuffer(buffers[0], dtype, len(array) + 1, array.offset * dtype.itemsize)
    return bounds, memoryview(buffers[1] or b"")
