"""``stoker.open``: picks the reader for a path."""

from __future__ import annotations

import glob
import inspect
import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import Any

from stoker.data.array_files import ARRAY_ENDINGS, ArrayFiles
from stoker.data.arrays import open_npy
from stoker.data.dataset import Dataset
from stoker.data.folder import EXTENSIONS, ImageFolder
from stoker.data.hdf5 import HDF5
from stoker.data.hugging_face import HUGGING_FACE_FILES, HuggingFace
from stoker.data.packed import Packed
from stoker.data.scan import contents, ending_of
from stoker.data.table_files import TABLE_ENDINGS
from stoker.data.tables import Table
from stoker.data.tars import Tars
from stoker.data.tokens import Tokens
from stoker.errors import ArgumentError, DataError, EmptyFolderError
from stoker.store.manifest import MANIFEST

Path = str | os.PathLike[str]
Paths = list[Path] | tuple[Path, ...]


@dataclass
class Found:
    """What lies at the path that was given: one folder, or files.

    Attributes:
        paths: one path, or the files of a list or pattern.
        options: the names of the options that were given.
    """

    paths: list[str]
    options: Set[str]
    _endings: set[str] = field(default_factory=set)
    _unseen: Iterator[str] | None = None

    def __post_init__(self) -> None:
        self.is_folder = len(self.paths) == 1 and os.path.isdir(self.paths[0])

    def is_files(self, *endings: str) -> bool:
        """Whether these are files, each with one of `endings`."""
        return not self.is_folder and all(ending_of(path) in endings for path in self.paths)

    def is_file(self, *endings: str) -> bool:
        """Whether this is one file, with one of `endings`."""
        return len(self.paths) == 1 and self.is_files(*endings)

    def has_file(self, *names: str) -> bool:
        """Whether this is a folder with a file of one of these names in it."""
        return self.is_folder and any(os.path.exists(os.path.join(self.paths[0], name)) for name in names)

    def has(self, endings: Set[str]) -> bool:
        """Whether this is a folder with a file of one of `endings` somewhere. Looks no further than the first."""
        if not self.is_folder or self._endings & endings:
            return self.is_folder
        if self._unseen is None:
            self._unseen = (
                ending_of(name) for _, _, names in os.walk(self.paths[0], followlinks=True) for name in names
            )
        for ending in self._unseen:
            self._endings.add(ending)
            if ending in endings:
                return True
        return False


@dataclass(frozen=True)
class Reader:
    """A row of the table below: what is read, the test that knows it, and what reads it."""

    what: str
    test: Callable[[Found], bool]
    make: Callable[..., Dataset]
    takes_several: bool = False


# The first whose test holds reads it. Folders that say what they are come before those that have to be looked through.
READERS = [
    Reader("a packed store", lambda it: it.has_file(MANIFEST), Packed),
    Reader("a folder of save_to_disk (Hugging Face)", lambda it: it.has_file(*HUGGING_FACE_FILES), HuggingFace),
    Reader("a folder of images", lambda it: it.has(EXTENSIONS), ImageFolder),
    Reader("a folder of .npy or .pt files", lambda it: it.has(ARRAY_ENDINGS), ArrayFiles),
    Reader("a folder of .tar files", lambda it: it.has({".tar"}), Tars),
    Reader("a folder of .parquet, .arrow or .csv files", lambda it: it.has(TABLE_ENDINGS), Table),
    Reader("a .bin file of token ids", lambda it: it.is_file(".bin"), Tokens),
    Reader("a .npy file of token ids (with window=)", lambda it: it.is_file(".npy") and "window" in it.options, Tokens),
    Reader("a .npy or .npz file", lambda it: it.is_file(".npy", ".npz"), open_npy),
    Reader("an .h5 or .hdf5 file", lambda it: it.is_file(".h5", ".hdf5"), HDF5),
    Reader(".parquet, .arrow, .feather, .csv or .tsv files", lambda it: it.is_files(*TABLE_ENDINGS), Table, True),
    Reader(".tar files", lambda it: it.is_files(".tar"), Tars, True),
]  # fmt: skip


def open(path: Path | Paths, **options: Any) -> Dataset:
    """The dataset at `path`, read by the reader that knows what lies there.

    Folders: packed stores, images (class folders or flat), .npy or .pt files, .tar files, tables (.parquet, .arrow, .csv), what Hugging
    Face's ``save_to_disk`` wrote. Files: .npy (memory-mapped), .npz, .h5 or .hdf5, .parquet, .arrow, .feather, .csv,
    .tar, .bin with ``window=``. Several tars or tables: a list of paths, or a pattern with ``*``.

    Args:
        path: a folder, a file, a pattern, or a list of files.
        options: for the reader, as its class takes them: ``columns=``, ``window=`` …

    Raises:
        FileNotFoundError: there is nothing at `path`.
        DataError: Stoker has no reader for it; says what was found, and which readers there are.
        ArgumentError: the reader does not take such an option, or needs one; names those it takes.
    """
    found = Found(_existing(path), options.keys())
    for reader in READERS:
        if reader.test(found):
            _check_options(reader, found, options)
            return reader.make(found.paths if reader.takes_several else found.paths[0], **options)
    raise _unknown(found)


def _existing(path: Path | Paths) -> list[str]:
    names = [os.fspath(name) for name in (path if isinstance(path, list | tuple) else [path])]
    if not names:
        raise ArgumentError("open needs at least one path; got an empty list.")
    for name in names:
        if not os.path.exists(name) and not glob.glob(name):
            raise FileNotFoundError(f"there is nothing at {name}")
    return [part for name in names for part in ([name] if os.path.exists(name) else sorted(glob.glob(name)))]


def _check_options(reader: Reader, found: Found, options: dict[str, Any]) -> None:
    _, *parameters = inspect.signature(reader.make).parameters.values()
    known = [parameter.name for parameter in parameters]
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    takes = f"takes {', '.join(known)}" if known else "takes no options"
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentError(f"{found.paths[0]} is {reader.what}, whose reader {takes}; got {', '.join(unknown)}.")
    missing = [name for name in needed if name not in options]
    if missing:
        raise ArgumentError(
            f"{found.paths[0]} is {reader.what}, whose reader {takes} and needs {', '.join(missing)}: "
            f"stoker.open(path, {missing[0]}=…)."
        )


def _unknown(found: Found) -> DataError:
    readers = "; ".join(reader.what for reader in READERS)
    if found.is_folder:
        holds = f"a folder that holds {contents(found.paths[0])}"
        return EmptyFolderError(f"no reader for {found.paths[0]}, {holds}. What can be read: {readers}.")
    name = found.paths[0] if len(found.paths) == 1 else f"these {len(found.paths)} files together, {found.paths[0]} …"
    return DataError(f"no reader for {name}. What can be read: {readers}.")
