"""The manifest: everything that is known of a store without opening a shard, as JSON with a checksum over itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stoker.errors import StoreError
from stoker.store.schema import Schema

MANIFEST = "manifest.json"
FORMAT, VERSION = "stoker", 1

_SHARD_NAME = re.compile(r"data/[0-9]{5,12}\.arrow")
_HASH = re.compile(r"[0-9a-f]{64}")
_CRC = re.compile(r"[0-9a-f]{8}")
_MAX_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Some consecutive rows of a shard: an Arrow record batch.

    `offset` and `num_bytes` say where it stands in the file, `buffers` where each buffer begins in the file, in the order
    of `Schema.columns` (0 for an empty one); `crc32` is over all of it.
    """

    num_rows: int
    offset: int
    num_bytes: int
    crc32: str
    buffers: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.num_rows, "offset": self.offset, "bytes": self.num_bytes, "crc32": self.crc32,
            "buffers": list(self.buffers),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a store."""

    name: str
    num_rows: int
    num_bytes: int
    sha256: str
    groups: tuple[RowGroup, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.name, "rows": self.num_rows, "bytes": self.num_bytes, "sha256": self.sha256,
            "groups": [group.to_json() for group in self.groups],
        }  # fmt: skip

    @staticmethod
    def from_json(value: Any, schema: Schema) -> Shard:
        """Raises StoreError where the shard names a file outside of the store, or its figures contradict each other."""
        try:
            groups = tuple(_row_group(group, schema, value["bytes"]) for group in value["groups"])
            shard = Shard(value["file"], _size(value["rows"]), _size(value["bytes"]), value["sha256"], groups)
            if not _SHARD_NAME.fullmatch(shard.name) or not _HASH.fullmatch(shard.sha256):
                raise ValueError("its name or its checksum is not of the right form")
            if sum(group.num_rows for group in groups) != shard.num_rows:
                raise ValueError("its row groups do not add up")
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the manifest's entry of a shard is damaged: {error!r}") from error
        return shard


def _row_group(value: Any, schema: Schema, shard_bytes: Any) -> RowGroup:
    num_rows, offset, num_bytes = _size(value["rows"]), _size(value["offset"]), _size(value["bytes"])
    end = offset + num_bytes
    buffers = tuple(map(_size, value["buffers"]))
    if len(buffers) != schema.num_buffers or end > _size(shard_bytes):
        raise ValueError("a row group lies outside of its file, or lacks a buffer")
    # An empty buffer stands at 0. Python's numbers do not wrap around, so after this NumPy's, of 64 bits, cannot either.
    outside = any(start and not offset <= start <= end for start in buffers)
    if outside or any(
        not offset <= buffers[number] <= end - num_rows * row_bytes - extra
        for number, row_bytes, extra in schema.fixed_buffers
    ):
        raise ValueError("a buffer lies outside of its row group")
    if not num_rows or not _CRC.fullmatch(value["crc32"]):
        raise ValueError("a row group is empty, or its checksum is not of the right form")
    return RowGroup(num_rows, offset, num_bytes, value["crc32"], buffers)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        raise ValueError(f"{value!r} is no size")
    return value


@dataclass(frozen=True)
class Manifest:
    """What a store holds.

    Attributes:
        schema: its columns.
        shards: its files, in the order of their rows.
        variants: rows of each sample, side by side: 1, or the K of ``augment=K``.
        classes: names of the classes, where the source had them.
        quarantine: samples that were left out: {"index", "name", "error"} each.
        source: what it was packed from and how: never paths or times, so that equal data gives equal bytes.
        summary: what became of images, and bytes before.
    """

    schema: Schema
    shards: tuple[Shard, ...]
    variants: int = 1
    classes: tuple[str, ...] = ()
    quarantine: tuple[Mapping[str, Any], ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def num_rows(self) -> int:
        """Rows, counting every variant."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_samples(self) -> int:
        return self.num_rows // self.variants

    def to_bytes(self) -> bytes:
        """The file: equal manifests give equal bytes."""
        content = {
            "format": FORMAT, "version": VERSION, "rows": self.num_rows, "variants": self.variants,
            **self.schema.to_json(), "classes": list(self.classes), "quarantine": list(self.quarantine),
            "source": self.source, "summary": self.summary, "shards": [shard.to_json() for shard in self.shards],
        }  # fmt: skip
        content["checksum"] = _checksum(content)
        return _lines(content).encode()

    @cached_property
    def checksum(self) -> str:
        """The checksum that the file carries: sha256, in hexadecimal."""
        found: str = json.loads(self.to_bytes())["checksum"]
        return found

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        """Raises StoreError for a damaged one, or one of a later version."""
        content = _parsed(data)
        schema = Schema.from_json(content.get("columns"), content.get("sample"))
        try:
            shards = tuple(Shard.from_json(shard, schema) for shard in content["shards"])
            _size(content["source"]["length"])
            _size(content["summary"]["source_bytes"])
            manifest = Manifest(
                schema, shards, _size(content["variants"]), tuple(map(_text, content["classes"])),
                tuple(map(_quarantined, content["quarantine"])), dict(content["source"]), dict(content["summary"]),
            )  # fmt: skip
            if len({shard.name for shard in shards}) != len(shards):
                raise ValueError("a shard is named twice")
            if manifest.variants < 1 or manifest.num_rows % manifest.variants or manifest.num_rows != content["rows"]:
                raise ValueError("the rows of its shards do not add up")
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the manifest is damaged: {error!r}") from error
        return manifest


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _quarantined(value: Any) -> dict[str, Any]:
    _size(value["index"])
    _text(value["error"])
    if value["name"] is not None:
        _text(value["name"])
    return dict(value)


def _lines(content: Mapping[str, Any]) -> str:
    """JSON that people can read and compare: a line for each entry, and for each element of a list of objects."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"it is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError("it is not the manifest of a packed store.")
    if content.get("version") != VERSION:
        raise StoreError(
            f"the store is of version {content.get('version')!r}, and this Stoker reads version {VERSION}; update Stoker."
        )
    expected = content.pop("checksum", None)
    try:
        found = _checksum(content)
    except RecursionError as error:
        raise StoreError("the manifest is nested too deeply.") from error
    if expected != found:
        raise StoreError(
            "the manifest does not match its own checksum: it was altered or damaged; pack the store anew."
        )
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    """sha256 over the rest of the manifest as JSON without spaces, keys sorted."""
    data = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(data).hexdigest()


def read_manifest(root: str) -> Manifest:
    """The manifest of the store at `root`.

    Raises:
        StoreError: it is damaged, or of a later version; names the file.
        FileNotFoundError: there is none.
    """
    path = os.path.join(root, MANIFEST)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return Manifest.from_bytes(data)
    except StoreError as error:
        raise StoreError(f"cannot open {path}: {error}") from error


def shard_path(root: str, shard: Shard) -> str:
    """Where a shard of the store at `root` lies.

    Raises:
        StoreError: it is a link to something outside of the store.
    """
    path = os.path.join(root, shard.name)
    if not os.path.realpath(path).startswith(os.path.join(os.path.realpath(root), "")):
        raise StoreError(f"the shard {path} is a link that leads out of the store.")
    return path


def write_manifest(root: str, manifest: Manifest) -> None:
    """Writes the manifest, so that at any moment either the old one or the new one is there, whole."""
    write_atomically(os.path.join(root, MANIFEST), manifest.to_bytes())


def write_atomically(path: str, data: bytes) -> None:
    """Writes a file beside its place and renames it there, once the disk has it."""
    beside = f"{path}.new"
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Makes the disk have the names in a folder."""
    fd = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
