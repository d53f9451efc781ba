"""The datasets of an HDF5 file as columns."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.bulk import GetBatch
from stoker.data.handles import Handle
from stoker.data.hdf5_chunks import GatheredRows, gathered_rows, has_filters, reads_chunks
from stoker.data.optional import require
from stoker.data.values import Source, as_batch, check_indices, has_torch_dtype, native
from stoker.errors import ArgumentError, DataError, TypeMismatchError

T = TypeVar("T")

_GAP_BYTES = 32 << 10  # between two rows: copying as much takes as long as another call of h5py's


class HDF5(Source):
    """The datasets of an HDF5 file, also those in groups ("group/name"), as columns; row i of each makes sample i.

    Numbers are tensors of their own dtype, with the shape of a row; variable-length arrays are tensors of one
    dimension, strings are str.

    What reading a row costs depends on the file. **Rows that lie in it as they are** (not chunked, or in chunks that are
    not compressed and hold whole rows) are copied out of a memory map: a batch is one native call. **Compressed chunks**,
    and chunks that hold parts of rows, are decompressed as a whole, of which each process keeps `cache_bytes`: shuffled over
    more than that, nearly every row decompresses a chunk, so shuffle in blocks of a few chunks (`chunk_rows`), or write
    chunks of few rows. What is left (strings, chunks larger than half the cache) is read through h5py, in the
    file's order, by one slice for each run of rows that lie in one chunk or close together.

    The file is opened read-only, in each process at first use, and travels to workers by its path. It must not be cut off
    while it is read. Thread-safe; HDF5 itself lets one thread decompress at a time, so worker processes make that faster.

    Args:
        path: the file.
        columns: names of the datasets, in the order of a sample's columns. All of at least one dimension if not given.
        cache_bytes: of decompressed chunks, in each process.

    Attributes:
        chunk_rows: rows of the largest chunk that is read as a whole, which a block shuffle takes together; None where none is.
        prefers_workers: whether a column is compressed.

    Raises:
        MissingPackageError: h5py is not installed.
        DataError: it is no HDF5 file, is damaged, or its datasets differ in length; says how long each is.
        ArgumentError: there is no dataset of a name in `columns`.
        TypeMismatchError: a dataset has a type that no column can have; names it.
    """

    def __init__(
        self, path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, cache_bytes: int = 64 << 20
    ) -> None:
        if cache_bytes < 0:
            raise ArgumentError(f"cache_bytes must be at least 0; got {cache_bytes}.")
        self.path = os.path.abspath(os.fspath(path))
        with _open_file(self.path) as file:
            found = dict(_datasets(file))
            self.columns = tuple(found) if columns is None else tuple(columns)
            unknown = [name for name in self.columns if name not in found]
            if unknown or not self.columns:
                wrong = f"got {', '.join(unknown)}" if unknown else "at least one is needed"
                raise ArgumentError(
                    f"columns must name datasets of {self.path}, which has {', '.join(found) or 'none'}; {wrong}."
                )
            self._length = _common_length(self.path, {name: found[name] for name in self.columns})
            self._is_bulk = all(_reader(self.path, name, found[name], 0).is_bulk for name in self.columns)
            chosen = [found[name] for name in self.columns]
            self.chunk_rows = max((dataset.chunks[0] for dataset in chosen if reads_chunks(dataset)), default=None)
            self.prefers_workers = any(map(has_filters, chosen))
        self._readers = Handle(partial(_open_columns, self.path, self.columns, cache_bytes // len(self.columns)))

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> tuple[Any, ...]:
        return tuple(reader.row(index) for reader in self._readers.get())

    @property
    def get_batch(self) -> GetBatch | None:
        """Reads a batch in one go, as a list of columns; None where a column's rows differ in length."""
        return self._read_batch if self._is_bulk else None

    def _read_batch(self, indices: NDArray[np.int64]) -> Any:
        check_indices(indices, len(self))
        return as_batch([reader.batch(indices) for reader in self._readers.get()])

    def sample_path(self, index: int) -> str:
        return self.path


class _Numbers:
    """Rows of numbers, all of one shape."""

    is_bulk = True

    def __init__(self, path: str, name: str, dataset: Any) -> None:
        self._where = f"column {name!r} of {path}"
        self._rows = dataset
        self._shape, self._dtype = dataset.shape[1:], dataset.dtype
        self._chunk_rows = dataset.chunks[0] if dataset.chunks else 0
        self._row_bytes = self._dtype.itemsize * math.prod(self._shape)

    def row(self, index: int) -> Any:
        return native(self._select(index))

    def batch(self, indices: NDArray[np.int64]) -> Any:
        rows = np.empty((len(indices), *self._shape), self._dtype.newbyteorder("="))
        self._fill(rows, indices)
        return torch.from_numpy(rows)

    def _fill(self, target: NDArray[Any], indices: NDArray[np.int64]) -> None:
        """Reads the rows in the file's order, a slice for each run of them, into their places."""
        order = np.argsort(indices, kind="stable")
        rows = indices[order]
        for start, stop in itertools.pairwise(self._run_bounds(rows)):
            first, last = int(rows[start]), int(rows[stop - 1])
            if first == last:
                target[order[start:stop]] = self._select(first)
            else:
                target[order[start:stop]] = self._select(slice(first, last + 1))[rows[start:stop] - first]

    def _run_bounds(self, rows: NDArray[np.int64]) -> list[int]:
        """Where runs of sorted rows start and stop: rows that are read faster together, with what lies between them."""
        gaps = np.diff(rows) - 1
        apart = gaps > 0
        if self._chunk_rows:  # a chunk is read and decompressed as a whole
            apart &= np.diff(rows // self._chunk_rows) > 0
        else:
            apart &= gaps * self._row_bytes > _GAP_BYTES
        return [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)] if len(rows) else [0]

    def _select(self, selection: int | slice) -> Any:
        return self._checked(lambda: self._rows[selection])

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"cannot read {self._where}: {error}") from error


class _PlacedNumbers(_Numbers):
    """The same, past h5py where that is possible."""

    def __init__(self, path: str, name: str, dataset: Any, cache_bytes: int) -> None:
        super().__init__(path, name, dataset)
        self._cache_bytes = cache_bytes

    @cached_property
    def _gathered(self) -> GatheredRows | None:
        """Looked for when the first row is read, as it takes some milliseconds for thousands of chunks."""
        return self._checked(lambda: gathered_rows(self._rows, self._cache_bytes))

    def row(self, index: int) -> Any:
        gathered = self._gathered
        if gathered is None:
            return super().row(index)
        return native(self._checked(lambda: gathered.gather(np.array([index])))[0])

    def batch(self, indices: NDArray[np.int64]) -> Any:
        gathered = self._gathered
        if gathered is None:
            return super().batch(indices)
        return torch.from_numpy(native(self._checked(lambda: gathered.gather(indices))))


class _Strings(_Numbers):
    """Rows that are strings."""

    def __init__(self, path: str, name: str, dataset: Any) -> None:
        super().__init__(path, name, dataset)
        self._rows = dataset.asstr()

    def row(self, index: int) -> str:
        return str(self._select(index))

    def batch(self, indices: NDArray[np.int64]) -> list[str]:
        strings = np.empty(len(indices), object)
        self._fill(strings, indices)
        return list(map(str, strings))


class _Arrays(_Numbers):
    """Rows that are arrays of one dimension and of any length."""

    is_bulk = False

    def row(self, index: int) -> NDArray[Any]:
        return np.array(native(self._select(index)))


def _reader(path: str, name: str, dataset: Any, cache_bytes: int) -> _Numbers:
    """What reads a dataset. Raises TypeMismatchError where nothing does."""
    h5py = require("h5py", extra="hdf5")
    dtype = dataset.dtype
    if dataset.external:  # raw bytes of any file that the process may read
        raise DataError(f"column {name!r} of {path} keeps its data in other files; copy it into this one.")
    if h5py.check_string_dtype(dtype) is not None and dataset.ndim == 1:
        return _Strings(path, name, dataset)
    base = h5py.check_vlen_dtype(dtype)
    if isinstance(base, np.dtype) and dataset.ndim == 1 and has_torch_dtype(base):
        return _Arrays(path, name, dataset)
    if dtype.kind in "biufc" and has_torch_dtype(dtype):
        return _PlacedNumbers(path, name, dataset, cache_bytes)
    raise TypeMismatchError(
        f"column {name!r} of {path} has the type {dtype} and {dataset.ndim} dimensions; columns are numbers, or strings or "
        "variable-length arrays of one dimension. Name the others: columns=[...]."
    )


def _open_file(path: str) -> Any:
    h5py = require("h5py", extra="hdf5")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is nothing at {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"cannot read {path} as HDF5: {error}") from error


def _open_columns(path: str, columns: tuple[str, ...], cache_bytes: int) -> list[_Numbers]:
    """The columns' readers; they keep the file open, and close it when they are dropped."""
    file = _open_file(path)
    try:
        return [_reader(path, name, file[name], cache_bytes) for name in columns]
    except KeyError as error:
        raise DataError(f"{path} no longer has the datasets that it had when it was opened: {error}") from error


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """The datasets of at least one dimension, sorted by name. Links to other files are not followed."""
    h5py = require("h5py", extra="hdf5")
    names: list[str] = []
    file.visit(names.append)
    for name in names:
        found = file[name]
        if isinstance(found, h5py.Dataset) and found.ndim:
            yield name, found


def _common_length(path: str, datasets: dict[str, Any]) -> int:
    lengths = {name: len(dataset) for name, dataset in datasets.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {length:,}" for name, length in lengths.items())
        raise DataError(f"the columns of {path} must have one length; got {said}. Name those of one: columns=[...].")
    return next(iter(lengths.values()))
