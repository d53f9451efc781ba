"""A store's rows as files: in folders, or in tars as WebDataset reads them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from stoker.packing.names import distinct_components, ending_for, image_format, safe_path, stem_of
from stoker.packing.rows import Piece, as_array, label_column, pieces
from stoker.packing.shards import NAME
from stoker.store.reader import Reader
from stoker.store.schema import Column

_PNG_LEVEL = 1  # a third of the time of the default, for files that are a little larger


@dataclass(frozen=True)
class _Part:
    """A value as a file: `ending` is what its name gets behind the sample's; of the main image it is the format."""

    data: bytes
    ending: str
    is_main: bool = False


@dataclass(frozen=True)
class _RowFiles:
    """A row as files: a name without an ending, and the data of each ending (with its dot)."""

    stem: str
    files: dict[str, bytes]


def to_folder(reader: Reader, root: str, count: Callable[[int], object]) -> None:
    """Writes a folder at `root`: class folders where there are classes."""
    os.makedirs(root)
    for folder in distinct_components(reader.manifest.classes).values():
        os.makedirs(os.path.join(root, folder))  # those without a sample too
    made: set[str] = set()
    for row in _rows(reader, in_tars=False):
        path = os.path.join(root, row.stem)
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        for ending, data in row.files.items():
            with open(path + ending, "xb") as file:
                file.write(data)
        count(1)


def to_tar(reader: Reader, path: str, count: Callable[[int], object]) -> None:
    """Writes one tar at `path`: the same bytes for the same store."""
    with tarfile.open(path, "w") as tar:
        for row in _rows(reader, in_tars=True):
            _add(tar, row)
            count(1)


def to_tars(reader: Reader, root: str, shard_bytes: int, count: Callable[[int], object]) -> None:
    """Writes a folder of tars of about `shard_bytes` each."""
    os.makedirs(root)
    rows, number = _rows(reader, in_tars=True), 0
    row = next(rows, None)
    while row is not None:
        with tarfile.open(os.path.join(root, f"{number:06d}.tar"), "w") as tar:
            while row is not None and (tar.offset < shard_bytes or not tar.offset):
                _add(tar, row)
                count(1)
                row = next(rows, None)
        number += 1


def _add(tar: tarfile.TarFile, row: _RowFiles) -> None:
    for ending, data in row.files.items():
        member = tarfile.TarInfo(row.stem + ending)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    vars(tar)["members"] = []  # it would keep them all


def _rows(reader: Reader, *, in_tars: bool) -> Iterator[_RowFiles]:
    """All rows, each under a name of its own."""
    names = _Names(reader, in_tars=in_tars)
    for piece in pieces(reader):
        columns = names.given(piece), names.labels(piece), _parts(piece, in_tars)
        for row, given, label, parts in zip(piece.rows.tolist(), *columns, strict=True):
            keeps = not in_tars  # there the ending names the column, and all samples have the same ones
            endings = [
                ending_for(given, part.ending) if part.is_main and keeps else f".{part.ending}" for part in parts
            ]
            stem = names.claimed(names.of(row, given, label), endings)
            yield _RowFiles(stem, {ending: part.data for ending, part in zip(endings, parts, strict=True)})


class _Names:
    """What rows are called: as their source called them, below their class's folder, with ``-0`` … behind where there are variants."""

    def __init__(self, reader: Reader, *, in_tars: bool) -> None:
        manifest = reader.manifest
        self._variants, self._in_tars = manifest.variants, in_tars
        self._name = next((c for c in manifest.schema.columns if c.name == NAME and not c.in_sample), None)
        self._label = label_column(manifest.schema, has_classes=bool(manifest.classes)) if manifest.classes else None
        folders = distinct_components(manifest.classes)
        self._folders = [folders[name] for name in manifest.classes]
        self._used: set[str] = set()
        self._tries: dict[str, int] = {}

    def given(self, piece: Piece) -> list[str]:
        """The source's names; "" where it has none."""
        return [""] * len(piece.rows) if self._name is None else list(piece.cells(self._name))

    def labels(self, piece: Piece) -> list[int | None]:
        if self._label is None:
            return [None] * len(piece.rows)
        return [int(value) for value in piece.block(self._label, ())]

    def of(self, row: int, given: str, label: int | None) -> str:
        sample, variant = divmod(row, self._variants)
        path = safe_path(stem_of(given)) or f"{sample:08d}"
        if label is not None:
            folder = self._folders[label] if 0 <= label < len(self._folders) else str(label)
            path = path if path.startswith(f"{folder}/") else f"{folder}/{path}"
        if self._in_tars:  # there the first dot of a name ends the sample's key
            folder, slash, name = path.rpartition("/")
            path = f"{folder}{slash}{name.replace('.', '_')}"
        return f"{path}-{variant}" if self._variants > 1 else path

    def claimed(self, wanted: str, endings: list[str]) -> str:
        """`wanted`, or with a number behind it where another row has such files; in tars, such a key."""
        stem = wanted
        while not self._used.isdisjoint(claims := [stem] if self._in_tars else [stem + ending for ending in endings]):
            self._tries[wanted] = self._tries.get(wanted, 1) + 1
            stem = f"{wanted}~{self._tries[wanted]}"
        self._used.update(claims)
        return stem


def _parts(piece: Piece, in_tars: bool) -> Iterator[list[_Part]]:
    """The files of each row; the label is none in a folder where the class folder says it."""
    manifest = piece.reader.manifest
    columns = manifest.schema.sample_columns
    label = label_column(manifest.schema, has_classes=bool(manifest.classes))
    main = next((c for c in columns if c.kind in ("image", "pixels")), None)
    if label is not None and manifest.classes and not in_tars and main is not None:
        columns = tuple(column for column in columns if column is not label)
    safe = distinct_components((column.name for column in columns), folds_case=True)
    cells = [piece.cells(column) for column in columns]
    for values in zip(*cells, strict=True):
        parts = []
        for column, value in zip(columns, values, strict=True):
            data, format = _as_file(column, value)
            if column is label and in_tars:
                parts.append(_Part(str(int(value)).encode(), "cls"))
            elif column is main:
                parts.append(_Part(data, format, is_main=True))
            else:
                parts.append(_Part(data, f"{safe[column.name]}.{format}" if len(columns) > 1 else format))
        yield parts


def _as_file(column: Column, value: Any) -> tuple[bytes, str]:
    """A value as the content of a file, and its ending."""
    if column.kind == "image":
        return value, image_format(value)
    if column.kind == "bytes":
        return value, "bin"
    if column.kind == "string":
        return value.encode(), "txt"
    stream = io.BytesIO()
    if column.kind == "pixels":
        Image.fromarray(value).save(stream, "PNG", compress_level=_PNG_LEVEL)
        return stream.getvalue(), "png"
    if column.kind == "json" or column.holder == "number":
        return json.dumps(value, ensure_ascii=False).encode(), "json"
    np.save(stream, as_array(value), allow_pickle=False)
    return stream.getvalue(), "npy"
