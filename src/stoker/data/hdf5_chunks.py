"""Rows of an HDF5 dataset, past h5py where that is possible: at their place in the file, or in chunks that are kept.

A call of h5py's costs 20 to 30 µs, whatever it reads, and a row of a compressed dataset costs its whole chunk. So rows that
lie in the file as they are come from a memory map, by address, and chunks that have to be decompressed are kept.
"""

from __future__ import annotations

import math
import mmap
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.data.block_cache import BlockCache
from stoker.data.optional import require
from stoker.data.piece_rows import PieceRows, copy_rows
from stoker.data.values import check_indices

_MAX_CHUNKS = 200_000  # whose places are looked up, 7 µs each, when the first row is read


class GatheredRows(Protocol):
    """What gives rows by index."""

    def gather(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The rows `indices`, in that order, [len(indices), ...], in new memory. Raises IndexError."""


def gathered_rows(dataset: Any, cache_bytes: int) -> GatheredRows | None:
    """The quickest way to the rows of an h5py dataset of numbers; None where that is h5py's own.

    Args:
        dataset: open for reading.
        cache_bytes: how much of its decompressed chunks may be kept.
    """
    if not len(dataset) or not math.prod(dataset.shape):
        return None
    return _mapped(dataset) or _kept(dataset, cache_bytes)


def has_filters(dataset: Any) -> bool:
    """Whether the dataset's chunks have to be decompressed, or made sense of in other ways."""
    return bool(dataset.id.get_create_plist().get_nfilters())


def reads_chunks(dataset: Any) -> bool:
    """Whether a row costs whole chunks: they have filters, or hold parts of rows."""
    return bool(dataset.chunks) and (has_filters(dataset) or dataset.chunks[1:] != dataset.shape[1:])


def _mapped(dataset: Any) -> PieceRows | None:
    """The rows as they lie in the file; None where they do not: compressed, never written, in pieces, or in a type of HDF5's own."""
    h5py = require("h5py", extra="hdf5")
    as_numpy = h5py.h5t.py_create(dataset.dtype, logical=True) == dataset.id.get_type()
    file = dataset.file
    if not as_numpy or has_filters(dataset) or file.userblock_size or file.driver != "sec2":
        return None
    offset = dataset.id.get_offset()
    places = _chunk_places(dataset) if offset is None else (np.array([offset]), np.array([0, len(dataset)]))
    if places is None:
        return None
    # The file that h5py has open, not what may lie at its path by now.
    memory = np.frombuffer(mmap.mmap(file.id.get_vfd_handle(), 0, prot=mmap.PROT_READ), np.uint8)
    offsets, bounds = places
    row_bytes = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
    if (offsets + np.diff(bounds) * row_bytes).max() > len(memory):
        return None  # cut off: h5py says so when such a row is read
    addresses = np.uint64(memory.ctypes.data) + offsets.astype(np.uint64)
    return PieceRows(addresses, bounds, dataset.dtype, dataset.shape[1:], owner=memory)


def _chunk_places(dataset: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Where each chunk lies in the file, and the bounds of their rows; None where rows are cut, or chunks were never written."""
    chunks = dataset.chunks
    if chunks is None or chunks[1:] != dataset.shape[1:] or not hasattr(dataset.id, "chunk_iter"):
        return None
    num_chunks = -(-len(dataset) // chunks[0])
    if num_chunks > _MAX_CHUNKS:
        return None
    offsets = np.full(num_chunks, -1, np.int64)

    def note(chunk: Any) -> None:
        offsets[chunk.chunk_offset[0] // chunks[0]] = -1 if chunk.byte_offset is None else chunk.byte_offset

    dataset.id.chunk_iter(note)
    if (offsets < 0).any():
        return None
    return offsets, np.minimum(np.arange(num_chunks + 1) * chunks[0], len(dataset))


def _kept(dataset: Any, cache_bytes: int) -> _Bands | None:
    """The rows by way of kept chunks; None where the dataset has none, or so large ones that two do not fit."""
    if (
        not dataset.chunks
        or 2 * dataset.chunks[0] * dataset.dtype.itemsize * math.prod(dataset.shape[1:]) > cache_bytes
    ):
        return None
    return _Bands(dataset, cache_bytes)


class _Bands:
    """Rows by bands: a band is the rows of a chunk, with all chunks that lie beside it. Thread-safe."""

    def __init__(self, dataset: Any, cache_bytes: int) -> None:
        self._dataset = dataset
        self._band_rows = int(dataset.chunks[0])
        self._cache = BlockCache(self._read, cache_bytes)
        self._dtype, self._shape = dataset.dtype, dataset.shape[1:]
        self._row_bytes = self._dtype.itemsize * math.prod(self._shape)

    def _read(self, band: int) -> tuple[NDArray[Any], int]:
        rows = np.ascontiguousarray(self._dataset[band * self._band_rows : (band + 1) * self._band_rows])
        return rows, rows.nbytes

    def gather(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        check_indices(indices, len(self._dataset))
        numbers, band_of = np.unique(indices // self._band_rows, return_inverse=True)
        bands = [self._cache.get(number) for number in numbers.tolist()]  # kept alive until they are copied from
        starts = np.array([band.ctypes.data for band in bands], np.uint64)
        within = (indices % self._band_rows).astype(np.uint64)
        return copy_rows(starts[band_of] + within * np.uint64(self._row_bytes), self._dtype, self._shape)
