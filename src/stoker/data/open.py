"""``stoker.open``: picks the reader for a path."""

from __future__ import annotations

import os

from stoker.data.arrays import open_npy
from stoker.data.dataset import Dataset
from stoker.data.folder import ImageFolder
from stoker.errors import DataError


def open(path: str | os.PathLike[str]) -> Dataset:
    """The dataset at `path`: a folder of images (class folders or flat), a .npy file (memory-mapped), an .npz file.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        EmptyFolderError: the folder holds no images; says what it holds.
        DataError: Stoker has no reader for it; says which it has.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"there is nothing at {name}")
    if os.path.isdir(name):
        return ImageFolder(name)
    if name.endswith((".npy", ".npz")):
        return open_npy(name)
    raise DataError(f"no reader for {name}: it must be a folder of images, a .npy or an .npz file.")
