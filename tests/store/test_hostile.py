"""Manifests that somebody made to do harm, or that were damaged: each is refused with what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoker
from stoker.data.packed import Packed
from stoker.errors import StoreError
from stoker.store.manifest import _checksum, read_manifest
from tests.store.every_kind import Made

Content = dict[str, Any]


def of_three(index: int) -> Any:
    return {"n": index, "x": np.zeros((index, 2)), "s": "a" * index}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    stoker.pack(Made(of_three, 4), tmp_path / "a", num_workers=0, shard_bytes=100)
    return tmp_path / "a"


def alter(store: Path, change: Callable[[Content], object]) -> None:
    """Alters the manifest, and gives it a checksum that fits."""
    path = store / "manifest.json"
    content = json.loads(path.read_bytes())
    del content["checksum"]
    change(content)
    content["checksum"] = _checksum(content)
    path.write_text(json.dumps(content))


def put(value: Any, *place: Any) -> Callable[[Content], object]:
    def change(content: Any) -> None:
        for key in place[:-1]:
            content = content[key]
        if value is None:
            del content[place[-1]]
        else:
            content[place[-1]] = value

    return change


SHARD = ("shards", 0)
GROUP = (*SHARD, "groups", 0)
_OUTSIDE = "the manifest's entry of a shard is damaged: ValueError('a buffer lies outside of its row group')"
_FORM = "the manifest's entry of a shard is damaged: ValueError('its name or its checksum is not of the right form')"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("data/../../secret.arrow", *SHARD, "file"), _FORM),
        (put("/etc/passwd", *SHARD, "file"), _FORM),
        (put("data/00000.arrow\n", *SHARD, "file"), _FORM),
        (put("data/0000٣.arrow", *SHARD, "file"), _FORM),
        (put("A" * 64, *SHARD, "sha256"), _FORM),
        (put(7, *SHARD, "file"), "the manifest's entry of a shard is damaged: TypeError("),
        (put("data/00001.arrow", *SHARD, "file"), "the manifest is damaged: ValueError('a shard is named twice')"),
        (put(-1, *SHARD, "bytes"), "the manifest's entry of a shard is damaged: ValueError('-1 is no size')"),
        (put(1 << 63, *SHARD, "bytes"), "ValueError('9223372036854775808 is no size')"),
        (put(1.0, *SHARD, "rows"), "ValueError('1.0 is no size')"),
        (put(True, *SHARD, "rows"), "ValueError('True is no size')"),
        (put(77, *SHARD, "rows"), "the manifest's entry of a shard is damaged: ValueError('its row groups do not add up')"),
        (put(None, *SHARD, "groups"), "the manifest's entry of a shard is damaged: KeyError('groups')"),
        (put("zz", *SHARD, "groups"), "the manifest's entry of a shard is damaged: TypeError("),
        (put(1 << 50, *GROUP, "offset"), "ValueError('a row group lies outside of its file, or lacks a buffer')"),
        (put([], *GROUP, "buffers"), "ValueError('a row group lies outside of its file, or lacks a buffer')"),
        (put(1 << 60, *GROUP, "rows"), _OUTSIDE),
        (put(0, *GROUP, "rows"), "ValueError('a row group is empty, or its checksum is not of the right form')"),
        (put("123", *GROUP, "crc32"), "ValueError('a row group is empty, or its checksum is not of the right form')"),
        (put(1 << 40, *GROUP, "buffers", 0), _OUTSIDE),
        (put(1 << 41, *GROUP, "buffers", 1), _OUTSIDE),
        (put(9, "rows"), "the manifest is damaged: ValueError('the rows of its shards do not add up')"),
        (put(0, "variants"), "the manifest is damaged: ValueError('the rows of its shards do not add up')"),
        (put(3, "variants"), "the manifest is damaged: ValueError('the rows of its shards do not add up')"),
        (put([1], "classes"), "the manifest is damaged: ValueError('1 is no text')"),
        (put([{"index": -1}], "quarantine"), "the manifest is damaged: ValueError('-1 is no size')"),
        (put({}, "source"), "the manifest is damaged: KeyError('length')"),
        (put([], "summary"), "the manifest is damaged: TypeError("),
        (put(None, "shards"), "the manifest is damaged: KeyError('shards')"),
        (put([], "columns"), "the manifest names no columns."),
        (put("x", "columns", 0, "name"), "the manifest names a column twice: x, x, x.shape, s."),
        (put("x.shape", "columns", 0, "name"), "the manifest names a column twice: x.shape, x, x.shape, s."),
        (put("y", "columns", 0, "name"), "the manifest's sample is not made of its columns."),
        (put("pickle", "columns", 0, "kind"), "a column of the manifest breaks the format's rules: {'name': 'n', 'kind': 'pickle'"),
        (put(["scalar"], "columns", 0, "kind"), "a column of the manifest is damaged: ValueError(\"['scalar'] is no text\")"),
        (put("object", "columns", 0, "dtype"), "a column of the manifest breaks the format's rules: "),
        (put("list", "columns", 0, "holder"), "a column of the manifest breaks the format's rules: "),
        (put([(1 << 40) - 1] * 2, "columns", 0, "shape"), "a column of the manifest breaks the format's rules: "),
        (put(33, "columns", 1, "num_dims"), "a column of the manifest is damaged: ValueError('33 is not a whole number in [0, 32]')"),
        (put("n" * 201, "columns", 0, "name"), "a column of the manifest breaks the format's rules: "),
        (put({"tuple": {}}, "sample"), "the manifest's sample is damaged: {'tuple': {}}"),
        (put(None, "sample"), "the manifest's sample is damaged: None"),
        (put(json.loads('{"list": [' * 40 + "1" + "]}" * 40), "sample"), "the manifest's sample is damaged: "),
        (put("other", "format"), "it is not the manifest of a packed store."),
        (put(2, "version"), "the store is of version 2, and this Stoker reads version 1; update Stoker."),
        (put("1", "version"), "the store is of version '1', and this Stoker reads version 1; update Stoker."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change: Callable[[Content], object], text: str, store: Path) -> None:
    alter(store, change)
    for read in (Packed, stoker.verify, stoker.open, lambda path: stoker.pack(Made(of_three, 9), path, append=True)):
        with pytest.raises(
            StoreError, match=re.escape(f"cannot open {store}/manifest.json: ") + ".*" + re.escape(text)
        ):
            read(store)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is no JSON: Expecting value"),
        (b"\xff\xfe\x00", "it is no JSON: "),
        (b"[1]", "it is not the manifest of a packed store."),
        (b"null", "it is not the manifest of a packed store."),
        (b"[" * 100_000, "it is no JSON: "),
        (b'{"format": "stoker", "version": 1, "a": ' + b"9" * 5000 + b"}", "it is no JSON: Exceeds the limit"),
        (b'{"format": "stoker", "version": 1, "a": ' + b"[" * 900 + b"]" * 900 + b"}", "the manifest "),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, text: str, store: Path) -> None:
    (store / "manifest.json").write_bytes(data)
    with pytest.raises(StoreError, match=re.escape(f"cannot open {store}/manifest.json: {text}")):
        Packed(store)


def test_a_manifest_that_was_altered_is_refused(store: Path) -> None:
    path = store / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"variants": 1', b'"variants": 2'))
    text = "the manifest does not match its own checksum: it was altered or damaged; pack the store anew."
    with pytest.raises(StoreError, match=re.escape(text)):
        Packed(store)


def test_layout_of_the_manifest_s_text_does_not_matter(store: Path) -> None:
    known = read_manifest(str(store))
    path = store / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=3))
    assert read_manifest(str(store)) == known
    assert read_manifest(str(store)).to_bytes() == known.to_bytes()
