"""WebDataset's tar files, with random access."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.folder import EXTENSIONS
from stoker.data.handles import Handle, OpenFile
from stoker.data.npy import parse_npy
from stoker.data.tar_index import TarIndex, index_tars
from stoker.data.values import Source, has_torch_dtype, native
from stoker.errors import ArgumentError, DataError
from stoker.image.decode import EncodedImage

KEY = "__key__"
_MAX_OPEN = 64  # tars at a time in each process; opening one again costs about as much as reading a small member

Tar = str | os.PathLike[str]


class Tars(Source):
    """Tar files as WebDataset writes them: consecutive members whose names agree up to the first dot are a sample.

    What follows that dot, in lower case, is the column, in the order of first appearance: "0001.jpg" and "0001.cls" give
    the columns jpg and cls. What a column holds depends on its last ending:

    ======================================  ==============================================
    jpg jpeg png webp gif bmp tif tiff ppm  `EncodedImage`: uint8 [3, height, width] in a sample that nobody maps
    cls index                               int
    txt text                                str
    json                                    the parsed value
    npy                                     array, a tensor in a sample; never unpickled
    everything else, pkl and pyd too        bytes, as they are
    ======================================  ==============================================

    The index is made once, here, by reading all headers (about 30 µs a member, and 8 KiB of the file around each); it
    takes 16 bytes a member and the keys, and travels to workers. Then any sample is one read for each column, so tars
    are shuffled like any dataset: no shuffle buffer, no splitting of shards over workers. Nothing is extracted, and the
    names of members are text that opens no file. At most 64 tars are open at a time. Thread-safe.

    Args:
        tars: a tar, a folder of tars, a pattern such as "train-*.tar", or several of these. Samples come in the order given,
            those of a folder or pattern by name. Braces are not expanded.
        columns: which columns, in the order of a sample's; "__key__" is the sample's key, a str. All but that if not given.

    Raises:
        DataError: a tar is truncated, compressed, damaged, or no tar; names it, and the offset. Reading a sample that
            lacks a column, or holds one that cannot be parsed, names its key and tar.
        ArgumentError: no tar has a column of a name in `columns`.
        FileNotFoundError: a tar is not there, or nothing fits a pattern.
    """

    def __init__(self, tars: Tar | Sequence[Tar], columns: Sequence[str] | None = None) -> None:
        self.paths = _find_tars([tars] if isinstance(tars, str | os.PathLike) else tars)
        self._index: TarIndex = index_tars(self.paths)
        known = self._index.columns
        self.columns = tuple(known) if columns is None else tuple(columns)
        unknown = [name for name in self.columns if name not in known and name != KEY]
        if unknown or not self.columns:
            wrong = f"got {', '.join(unknown)}" if unknown else "at least one is needed"
            raise ArgumentError(f"columns must be of those in the tars, {', '.join([*known, KEY])}; {wrong}.")
        self._files = Handle(partial(_open_files, self.paths))

    def __len__(self) -> int:
        return len(self._index.keys)

    def read(self, index: int) -> tuple[Any, ...]:
        return tuple(self._read(index, column) for column in self.columns)

    def _read(self, index: int, column: str) -> Any:
        found = self._index
        key = found.keys[index]
        if column == KEY:
            return key
        number = found.columns.index(column)
        tar, offset, size = int(found.tars[index]), int(found.offsets[index, number]), int(found.sizes[index, number])
        member = f"{key}.{column} of {self.paths[tar]}"
        if offset < 0:
            raise DataError(
                f"sample {key!r} of {self.paths[tar]} has no {column!r}, which other samples have; it has "
                f"{', '.join(found.columns_of(index))}. Name columns that all have: columns=[...]."
            )
        try:
            data = self._files.get()(tar).read(offset, size)
        except OSError as error:
            raise DataError(f"cannot read {member}: {error.strerror}") from error
        if len(data) != size:
            raise DataError(f"cannot read {member}: the tar was truncated since it was indexed.")
        return _decode(column, data, member)

    def sample_path(self, index: int) -> str:
        """The tar and the sample's key in it."""
        return f"{self.paths[self._index.tars[index]]}: {self._index.keys[index]}"

    def sample_name(self, index: int) -> str:
        """The sample's key."""
        return str(self._index.keys[index])


def _open_files(paths: Sequence[str]) -> Callable[[int], OpenFile]:
    """Opens the tar of a number, or finds it open. One that is pushed out closes when its last reader is done."""
    return lru_cache(_MAX_OPEN)(lambda number: OpenFile(paths[number]))


def _find_tars(given: Iterable[Tar]) -> list[str]:
    return [os.path.abspath(path) for name in given for path in _expanded(os.fspath(name))]


def _expanded(name: str) -> list[str]:
    if os.path.isdir(name):
        found = sorted(os.path.join(name, entry) for entry in os.listdir(name) if entry.endswith(".tar"))
        if not found:
            raise DataError(f"there is no .tar in {name}.")
        return found
    if os.path.exists(name):
        return [name]
    found = sorted(glob.glob(name))
    if not found:
        braces = "; braces are not expanded: give a pattern with *, or a list" if "{" in name else ""
        raise FileNotFoundError(f"there is nothing at {name}{braces}")
    return found


def _array(data: bytes, source: str) -> NDArray[Any]:
    array = parse_npy(bytearray(data), source)
    if not has_torch_dtype(array.dtype):
        raise DataError(f"{source} holds {array.dtype}, a dtype that torch does not have; convert it first.")
    return np.asarray(native(array))


_PARSERS: dict[str, Callable[[bytes], Any]] = {
    "cls": int,
    "index": int,
    "txt": bytes.decode,
    "text": bytes.decode,
    "json": json.loads,
}


def _decode(column: str, data: bytes, member: str) -> Any:
    """What the bytes of a member are, by the column's last ending."""
    ending = column.rpartition(".")[2]
    if f".{ending}" in EXTENSIONS:
        return EncodedImage(data, member)
    if ending == "npy":
        return _array(data, member)
    try:
        return _PARSERS.get(ending, bytes)(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {member} as {ending}: {error}") from error
