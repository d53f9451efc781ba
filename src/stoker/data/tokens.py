"""A flat file of token ids, read in windows."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from stoker._native import widen_rows
from stoker.data.handles import Handle
from stoker.data.piece_rows import PieceRows
from stoker.data.values import Source, as_batch
from stoker.errors import ArgumentError, DataError

_WIDENED = ("uint8", "uint16", "uint32", "int32")
"""What the native core makes int64 of while it copies."""


class Tokens(Source):
    """Windows of a flat file of token ids: a .bin file of plain numbers, as nanoGPT writes it, or a .npy of one dimension.

    Sample i starts at token ``i * stride``. Its columns are x and y, int64 [window] each, where y is x one token later;
    with ``shifted=False`` there is one column, tokens. Tokens at the end that fill no window are left out.

    `read` gives the file's own dtype; samples and batches are widened to int64 after they are gathered. The file is
    memory-mapped, opened in each process at first use: no process holds it in memory, and a window costs the pages that
    it lies on. A batch is one vectorised gather. Thread-safe.

    Args:
        path: the file.
        window: tokens of a sample.
        stride: tokens from the start of one sample to that of the next; `window` if not given, so that each token is
            predicted once. Less makes windows overlap.
        dtype: of a .bin file, uint16 if not given. A .npy file says its own.
        shifted: whether samples are (x, y), to predict the next token.

    Raises:
        ArgumentError: window or stride is less than 1, the dtype is not of integers, or one is given for a .npy file.
        DataError: the file's size is no multiple of the dtype's, it is shorter than one window, or no array of integers
            of one dimension.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        window: int,
        stride: int | None = None,
        dtype: DTypeLike | None = None,
        shifted: bool = True,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.window, self.stride, self.shifted = window, window if stride is None else stride, shifted
        if self.window < 1 or self.stride < 1:
            raise ArgumentError(f"window and stride must be at least 1; got {self.window} and {self.stride}.")
        self.columns = ("x", "y") if shifted else ("tokens",)
        self._span = window + shifted
        array = _open(self.path, dtype)
        self.dtype, self.num_tokens = array.dtype, len(array)
        if self.num_tokens < self._span:
            raise DataError(
                f"{self.path} holds {self.num_tokens:,} tokens of {self.dtype}, and a window takes {self._span:,}"
                f"{' (the last one is predicted)' if shifted else ''}; give a smaller window."
            )
        self._tokens = Handle(partial(_open_again, self.path, dtype, self.num_tokens))
        self._windows = Handle(partial(_open_windows, self._tokens, len(self), self._span, self.stride))

    def __len__(self) -> int:
        return (self.num_tokens - self._span) // self.stride + 1

    def read(self, index: int) -> tuple[NDArray[Any], ...]:
        start = index * self.stride
        return self._split(self._tokens.get()[start : start + self._span], self.dtype.newbyteorder("="))

    def finish(self, column: str, value: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(value.astype(np.int64))

    def present(self, column: str, value: NDArray[Any]) -> torch.Tensor:
        return self.finish(column, value)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The windows `indices`: a list of two int64 tensors [batch, window], or the one tensor where not shifted."""
        windows = self._windows.get()
        if not self.dtype.isnative or self.dtype.name not in _WIDENED:
            return as_batch(
                [torch.from_numpy(part) for part in self._split(windows.gather(indices), np.dtype(np.int64))]
            )
        starts = windows.addresses(indices)
        columns = []
        for number in range(len(self.columns)):  # each straight from the file into its own memory
            column = torch.empty((len(indices), self.window), dtype=torch.int64)
            widen_rows(
                starts + np.uint64(number * self.dtype.itemsize), self.window, self.dtype.name, column.data_ptr()
            )
            columns.append(column)
        return as_batch(columns)

    def _split(self, windows: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], ...]:
        """The columns, each in memory of its own, from windows [..., span]."""
        if not self.shifted:
            return (np.array(windows, dtype, order="C"),)
        return np.array(windows[..., :-1], dtype, order="C"), np.array(windows[..., 1:], dtype, order="C")

    def sample_path(self, index: int) -> str:
        return self.path

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "window": self.window, "stride": self.stride, "dtype": self.dtype.name}


def _open(path: str, dtype: DTypeLike | None) -> NDArray[Any]:
    array = (
        _open_npy(path, dtype)
        if path.endswith(".npy")
        else _open_bin(path, np.dtype(np.uint16 if dtype is None else dtype))
    )
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{path} must hold whole numbers in one dimension; it holds {array.dtype} {list(array.shape)}.")
    return array


def _open_bin(path: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind not in "iu":
        raise ArgumentError(f"dtype must be one of integers, such as uint16 or uint32; got {dtype}.")
    size = os.path.getsize(path)
    if size % dtype.itemsize:
        raise DataError(
            f"{path} has {size:,} bytes, no multiple of the {dtype.itemsize} of {dtype}; give the dtype that it was written with."
        )
    return np.memmap(path, dtype, "r") if size else np.empty(0, dtype)


def _open_npy(path: str, dtype: DTypeLike | None) -> NDArray[Any]:
    if dtype is not None:
        raise ArgumentError(f"dtype is for files of plain numbers, and {path} says its own; leave it out.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is nothing at {path}")
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise DataError(f"cannot read {path}: {error}") from error


def _open_again(path: str, dtype: DTypeLike | None, num_tokens: int) -> NDArray[Any]:
    """As a process does that uses the dataset first: reading a mapped file beyond an end that has moved would kill it."""
    array = _open(path, dtype)
    if len(array) != num_tokens:
        raise DataError(f"{path} held {num_tokens:,} tokens when it was opened, and holds {len(array):,} now.")
    return array


def _open_windows(tokens: Handle[NDArray[Any]], length: int, span: int, stride: int) -> PieceRows:
    """The windows, narrow as they lie in the file; overlapping where the stride is less than their length."""
    array = tokens.get()
    start, bounds = np.array([array.ctypes.data], np.uint64), np.array([0, length])
    return PieceRows(start, bounds, array.dtype, (span,), step_bytes=stride * array.itemsize, owner=array)
