"""A folder of arrays, a file for each sample: .npy files, or .pt files of torch's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.npy import parse_npy
from stoker.data.scan import ending_of, scan
from stoker.data.shared_list import SharedList
from stoker.data.values import Source, has_torch_dtype, native
from stoker.errors import ArgumentError, DataError

ARRAY_ENDINGS = frozenset({".npy", ".pt"})
"""The endings of files that hold an array, in lower case."""

_VALUES = (torch.Tensor, np.ndarray, np.generic, bool, int, float, str)


class ArrayFiles(Source):
    """The .npy and .pt files below `root`, in ImageFolder's order; class folders give each sample a label beside it.

    A file that holds one array or tensor gives the column "array". A .pt file that holds a dict gives a column for each
    key, one that holds a tuple or list the columns "0", "1" …; values are tensors, numbers or str. The first
    file says which columns there are. Dtypes and shapes are the files' own, and may differ from sample to sample;
    whoever wants batches of them needs a map or a collate function that makes them alike.

    Nothing is unpickled but tensors and plain values (``weights_only=True``, ``allow_pickle=False``). A sample costs
    one file opened and read. Thread-safe: no file stays open.

    Args:
        root: the folder.
        label: the name of the column of labels, where there are class folders; None leaves it out.

    Attributes:
        classes: names of the classes, sorted; empty for a flat folder.
        class_to_idx: class name to label.
        targets: labels of all samples, int64 [len].
        paths: paths of all samples, relative to `root`.

    Raises:
        EmptyFolderError: there are no such files; says what was looked for and what is there instead.
        DataError: a file cannot be read, or has other columns than the first; names its path.
        ArgumentError: the files hold a column of the label's name.
    """

    def __init__(self, root: str | os.PathLike[str], label: str | None = "label") -> None:
        self.root = os.fspath(root)
        found = scan(self.root, ARRAY_ENDINGS, "array files")
        self.classes = found.classes
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.paths = SharedList(found.paths)
        self.targets: NDArray[np.int64] = np.array(found.labels, np.int64)
        self._in_file = tuple(_read_file(self.sample_path(0)))
        self._labelled = label is not None and bool(self.classes)
        if self._labelled and label in self._in_file:
            raise ArgumentError(
                f"the files in {self.root} hold a column {label!r} themselves, and their folders give one of this name; "
                "give the folders' another: label='class', or None to leave it out."
            )
        self.columns = (*self._in_file, *([label] if self._labelled and label is not None else []))

    def __len__(self) -> int:
        return len(self.paths)

    def column(self, name: str) -> NDArray[np.int64] | None:
        """The labels."""
        return self.targets if self._labelled and name == self.columns[-1] else None

    def sample_path(self, index: int) -> str:
        return os.path.join(self.root, self.paths[index])

    def sample_name(self, index: int) -> str:
        """The file's path, relative to `root`."""
        return str(self.paths[index])

    def read(self, index: int) -> tuple[Any, ...]:
        path = self.sample_path(index)
        values = _read_file(path)
        if tuple(values) != self._in_file:
            if set(values) != set(self._in_file):
                raise DataError(
                    f"{path} holds {', '.join(values)}, and the first file of this folder, {self.sample_path(0)}, "
                    f"{', '.join(self._in_file)}; all files must hold the same."
                )
            values = {name: values[name] for name in self._in_file}
        return (*values.values(), *([int(self.targets[index])] if self._labelled else []))

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "classes": len(self.classes)}


def _read_file(path: str) -> dict[str, Any]:
    """The columns in a file. Raises DataError, naming it."""
    try:
        return _read_npy(path) if ending_of(path) == ".npy" else _read_pt(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _read_npy(path: str) -> dict[str, Any]:
    with open(path, "rb", buffering=0) as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        del data[file.readinto(data) :]
    array = parse_npy(data, path)
    if not has_torch_dtype(array.dtype):
        raise DataError(f"{path} holds {array.dtype}, a dtype that torch does not have; convert it first.")
    return {"array": native(array)}


def _read_pt(path: str) -> dict[str, Any]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader and unpickler raise whatever damage leads to
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"cannot read {path}: it is damaged, or holds more than tensors, numbers and str, which alone are "
            f"loaded from .pt files. torch says: {reason}"
        ) from error
    if isinstance(loaded, Mapping):
        columns = {str(key): value for key, value in loaded.items()}
    elif isinstance(loaded, tuple | list):
        columns = {str(number): value for number, value in enumerate(loaded)}
    else:
        columns = {"array": loaded}
    return {name: _checked(path, name, value) for name, value in columns.items()}


def _checked(path: str, name: str, value: Any) -> Any:
    if not isinstance(value, _VALUES):
        raise DataError(
            f"{path} holds a {type(value).__name__} in {name!r}; a value must be a tensor, a number or str."
        )
    return value.detach() if isinstance(value, torch.Tensor) else value
