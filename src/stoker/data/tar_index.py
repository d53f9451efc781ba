"""Where the members of tar files lie: made by reading their headers, without extracting anything."""

from __future__ import annotations

import os
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.data.shared_list import SharedList
from stoker.errors import DataError

_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)  # WebDataset's: key and column
_END = bytes(tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class TarIndex:
    """Samples and where their columns lie.

    Attributes:
        columns: in the order of first appearance.
        keys: of the samples, [num_samples].
        tars: the number of each sample's tar, int32 [num_samples].
        offsets: of each sample's columns in its tar, in bytes, int64 [num_samples, num_columns]; -1 for one that it lacks.
        sizes: of each sample's columns, in bytes, int64 [num_samples, num_columns].
    """

    columns: list[str]
    keys: SharedList
    tars: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def columns_of(self, sample: int) -> list[str]:
        """The columns that a sample has."""
        return [name for name, offset in zip(self.columns, self.offsets[sample], strict=True) if offset >= 0]


@dataclass(frozen=True)
class _Member:
    key: str
    column: str
    offset: int
    size: int


def index_tars(paths: Sequence[str]) -> TarIndex:
    """Indexes tars, one after the other. Members whose names have no column (no dot, or one in front) are left out, as WebDataset does.

    Raises:
        DataError: a tar cannot be read, or holds a member of one name twice in a sample; names it.
    """
    columns: dict[str, int] = {}
    keys: list[str] = []
    tars: list[int] = []
    places = array("q")  # sample, column, offset, size of one member after the other
    for number, path in enumerate(paths):
        seen: set[str] = set()
        last_key = None
        for member in _members(path):
            if member.key != last_key:
                last_key, seen = member.key, set()
                keys.append(member.key)
                tars.append(number)
            if member.column in seen:
                raise DataError(f"{path} holds {member.key}.{member.column} twice, in one sample.")
            seen.add(member.column)
            column = columns.setdefault(member.column, len(columns))
            places.extend((len(keys) - 1, column, member.offset, member.size))
    if not places:
        raise DataError(f"there are no samples in {', '.join(paths[:3])}{' …' if len(paths) > 3 else ''}.")
    table = np.frombuffer(places, np.int64).reshape(-1, 4)
    offsets = np.full((len(keys), len(columns)), -1, np.int64)
    sizes = np.zeros_like(offsets)
    offsets[table[:, 0], table[:, 1]] = table[:, 2]
    sizes[table[:, 0], table[:, 1]] = table[:, 3]
    return TarIndex(list(columns), SharedList(keys), np.array(tars, np.int32), offsets, sizes)


def _members(path: str) -> Iterator[_Member]:
    """The regular members of a tar that have a key and a column. Raises DataError for anything that is wrong with the tar."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is nothing at {path}")
    try:
        file_size = os.path.getsize(path)
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                vars(tar)["members"] = []  # it would keep them all
                if info.size < 0 or info.offset_data + info.size > file_size:
                    raise tarfile.ReadError(f"{info.name} does not end within the file")
                if info.issparse():
                    raise tarfile.ReadError(f"{info.name} is stored sparsely; write it plainly")
                parts = _NAME.fullmatch(info.name) if info.isreg() else None
                if parts:
                    yield _Member(parts[1], parts[2].lower(), info.offset_data, info.size)
            _refuse_early_end(path, tar.offset)
    except (tarfile.TarError, OSError, ValueError) as error:
        hint = (
            "; if it is compressed, decompress it: a compressed file has no random access" if _compressed(path) else ""
        )
        raise DataError(f"cannot read {path} as a tar: {error}{hint}") from error


def _refuse_early_end(path: str, offset: int) -> None:
    """tarfile takes a damaged or cut header for the end of the archive, and the end of the file too."""
    with open(path, "rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != _END:
            raise tarfile.ReadError(
                f"it is damaged or truncated at offset {offset:,}, where a header or the archive's end should be"
            )


def _compressed(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
