"""The datasets of an HDF5 file as columns."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.bulk import GetBatch
from stoker.data.handles import Handle
from stoker.data.optional import require
from stoker.data.values import Source, as_batch, check_indices, has_torch_dtype, native
from stoker.errors import ArgumentError, DataError, TypeMismatchError

_GAP_BYTES = 32 << 10  # between two rows: copying as much takes as long as another call of h5py's


class HDF5(Source):
    """The datasets of an HDF5 file, also those in groups ("group/name"), as columns; row i of each makes sample i.

    Numbers are tensors of their own dtype, with the shape of a row; variable-length arrays are tensors of one
    dimension, strings are str. A batch is read in the file's order, by one slice for each run of rows that lie in one
    chunk or close together, and put in the order that was asked for. (h5py's own selection by a list takes up to seven
    times as long in chunked data.)

    The file is opened read-only, in each process at first use, and travels to workers by its path. Thread-safe; HDF5
    itself lets one thread read at a time, so worker processes are what makes it faster. In a chunked dataset a row
    costs its whole chunk read and decompressed, unless it is still in HDF5's cache (1 MiB for each dataset, of HDF5's
    own): for shuffled reading, write chunks of one or a few rows.

    Args:
        path: the file.
        columns: names of the datasets, in the order of a sample's columns. All of at least one dimension if not given.

    Raises:
        MissingPackageError: h5py is not installed.
        DataError: it is no HDF5 file, is damaged, or its datasets differ in length; says how long each is.
        ArgumentError: there is no dataset of a name in `columns`.
        TypeMismatchError: a dataset has a type that no column can have; names it.
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> None:
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
            self._is_bulk = all(_reader(self.path, name, found[name]).is_bulk for name in self.columns)
        self._readers = Handle(partial(_open_columns, self.path, self.columns))

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
        try:
            return self._rows[selection]
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"cannot read {self._where}: {error}") from error


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


def _reader(path: str, name: str, dataset: Any) -> _Numbers:
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
        return _Numbers(path, name, dataset)
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


def _open_columns(path: str, columns: tuple[str, ...]) -> list[_Numbers]:
    """The columns' readers; they keep the file open, and close it when they are dropped."""
    file = _open_file(path)
    try:
        return [_reader(path, name, file[name]) for name in columns]
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
