"""Arrays and tensors in memory or mapped from files: batches by one gather."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.dataset import Dataset
from stoker.data.gather import TensorRows, is_plain
from stoker.data.piece_rows import PieceRows
from stoker.errors import ArgumentError, DataError, StokerError, TypeMismatchError


class Arrays(Dataset):
    """Columns of one length: tensors, NumPy arrays, memory maps. Positional ones are named "0", "1" …, and samples are tuples.

    A sample holds tensors, private and writable, and so does a batch. Memory maps travel to workers by path.

    Raises:
        ArgumentError: there are no arrays, or their lengths differ.
        TypeMismatchError: something is no array, or of a dtype that torch does not have.
    """

    def __init__(self, *arrays: Any, **named: Any) -> None:
        both = {**{str(number): array for number, array in enumerate(arrays)}, **named}
        if not both:
            raise ArgumentError("Arrays needs at least one array.")
        self.columns = tuple(both)
        self.arrays = tuple(_checked(name, array) for name, array in both.items())
        lengths = {name: len(array) for name, array in zip(self.columns, self.arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(
                f"all arrays must have one length; got {', '.join(f'{name}: {n}' for name, n in lengths.items())}."
            )
        self._rows: list[TensorRows | _ForeignRows] | None = None

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, index: int) -> tuple[Any, ...]:
        return tuple(
            torch.as_tensor(np.array(array[index])) if isinstance(array, np.ndarray) else array[index].clone()
            for array in self.arrays
        )

    def column(self, name: str) -> NDArray[Any] | None:
        array = self.arrays[self.columns.index(name)]
        return np.asarray(array) if array.ndim == 1 else None

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The rows `indices` of each array: a list of tensors [batch, ...], or the tensor where there is one array."""
        if self._rows is None:
            self._rows = [_rows(array) for array in self.arrays]
        batch = [rows.gather(indices) for rows in self._rows]
        return batch if len(batch) != 1 else batch[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}


class _ForeignRows:
    """Rows of a NumPy array that torch cannot share, as it is read-only (a memory map); or one that is not contiguous."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self._pieces = PieceRows.of([array]) if array.flags.c_contiguous else None

    def gather(self, indices: NDArray[np.int64]) -> torch.Tensor:
        if self._pieces is None:
            return torch.from_numpy(np.ascontiguousarray(self._array[indices]))
        return torch.from_numpy(self._pieces.gather(indices))


def _rows(array: Any) -> TensorRows | _ForeignRows:
    if isinstance(array, torch.Tensor):
        return TensorRows(array)
    if array.flags.writeable and array.flags.c_contiguous:
        return TensorRows(torch.from_numpy(array))
    return _ForeignRows(array)


def _checked(name: str, array: Any) -> Any:
    if isinstance(array, torch.Tensor) and is_plain(array) and array.ndim:
        return array
    if isinstance(array, np.ndarray) and array.ndim:
        try:
            torch.from_numpy(np.empty(0, array.dtype))
        except TypeError as error:
            raise TypeMismatchError(
                f"column {name!r} has dtype {array.dtype}, which torch does not have; convert it first."
            ) from error
        return array
    raise TypeMismatchError(
        f"column {name!r} must be a CPU tensor or a NumPy array of at least one dimension; got {type(array).__qualname__}."
    )


def open_npy(path: str | os.PathLike[str]) -> Arrays:
    """A .npy file, memory-mapped, as one column; an .npz file as its columns, in memory. Never unpickles.

    Raises:
        DataError: the file is damaged, or holds objects.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return Arrays(loaded)
        with loaded:
            return Arrays(**{name: loaded[name] for name in loaded.files})
    except (StokerError, FileNotFoundError):
        raise
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise DataError(f"cannot read {os.fspath(path)}: {error}") from error
