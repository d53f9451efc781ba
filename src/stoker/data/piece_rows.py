"""Rows of one size that lie in several pieces of memory: chunks of a file, Arrow's batches, windows of a memory map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stoker._native import copy_spans
from stoker.data.values import check_indices


class PieceRows:
    """Rows of numbers whose memory is known by address. A batch is one native call, however many pieces it lies in.

    Thread-safe. A hostile index raises; memory that goes away, such as that of a mapped file that is cut off, is the
    caller's to prevent.

    Args:
        addresses: of the first row of each piece, uint64 [pieces].
        bounds: the number of each piece's first row, and how many rows there are in all, int64 [pieces + 1].
        dtype: of the numbers as they lie there.
        shape: of a row.
        step_bytes: from the start of a row to that of the next; those of a row if not given. Less, and rows overlap.
        owner: what keeps the memory alive.
    """

    def __init__(
        self,
        addresses: NDArray[np.uint64],
        bounds: NDArray[np.int64],
        dtype: DTypeLike,
        shape: Sequence[int],
        *,
        step_bytes: int | None = None,
        owner: Any,
    ) -> None:
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)
        self._step = np.uint64(self.dtype.itemsize * math.prod(self.shape) if step_bytes is None else step_bytes)
        self._bounds, self._num_rows = bounds, int(bounds[-1])
        # Where row 0 would be if its piece went back to it: one addition then places any row. It may wrap around, and back.
        self._origins = addresses - bounds[:-1].astype(np.uint64) * self._step
        self._owner = owner

    @classmethod
    def of(cls, pieces: Sequence[NDArray[Any]]) -> PieceRows:
        """The rows of these arrays [rows, ...], each contiguous, alike in dtype and in the shape of a row; at least one."""
        addresses = np.array([piece.ctypes.data for piece in pieces], np.uint64)
        bounds = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        return cls(addresses, bounds, pieces[0].dtype, pieces[0].shape[1:], owner=list(pieces))

    def __len__(self) -> int:
        return self._num_rows

    def gather(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The rows `indices`, in that order, [len(indices), *shape], in new memory.

        Raises:
            IndexError: an index is out of range.
        """
        return copy_rows(self.addresses(indices), self.dtype, self.shape)

    def addresses(self, indices: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Where the rows `indices` begin, uint64 [len(indices)]; the memory stays as long as this object does.

        Raises:
            IndexError: an index is out of range.
        """
        check_indices(indices, self._num_rows)
        if len(self._origins) == 1:
            origins = self._origins
        else:
            origins = self._origins[self._bounds.searchsorted(indices, "right") - 1]
        found: NDArray[np.uint64] = origins + indices.astype(np.uint64) * self._step
        return found


def copy_rows(addresses: NDArray[np.uint64], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Rows of one dtype and shape that lie at these addresses, [len(addresses), *shape], in new memory. Releases the GIL."""
    rows = np.empty((len(addresses), *shape), dtype)
    row_bytes = dtype.itemsize * math.prod(shape)
    copy_spans(addresses, np.full(len(addresses), row_bytes, np.int64), rows.ctypes.data)
    return rows
