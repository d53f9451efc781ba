"""Stores that were written once and are read by every later version; and the same source gives their bytes again.

To write one for a new kind of column: ``python -m tests.store.test_golden``. Those that are there are never written anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import stoker
from stoker.data.packed import Packed
from stoker.order.keys import set_current_epoch
from tests.store.every_kind import Made, Named, assert_same, files_of, given_back, golden, ppm

GOLDEN = Path(__file__).parent / "golden"
ARROW = "26.0.1"  # whose bytes these are; another version may lay out its metadata in another way


def with_failures(index: int) -> Any:
    if index == 1:
        raise ValueError("no such sample")
    return ppm(index), stoker.order.keys.current_epoch() * 10 + index


STORES: dict[str, tuple[Any, dict[str, Any]]] = {
    "every_kind": (Made(golden, 3), {}),
    "named": (Named(["a/1", "b/ä", "b/\udcff"], ("a", "b")), {"shard_bytes": 8}),
    "variants": (Made(with_failures, 3), {"images": "raw", "augment": 2, "on_error": "skip"}),
}


def write(name: str, folder: Path) -> Path:
    source, options = STORES[name]
    stoker.pack(source, folder / f"{name}.stoker", num_workers=0, **options)
    return folder / f"{name}.stoker"


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_an_earlier_version_is_whole(name: str) -> None:
    assert stoker.verify(GOLDEN / f"{name}.stoker") == []


@pytest.mark.parametrize("name", STORES)
def test_the_same_source_gives_the_same_store(name: str, tmp_path: Path) -> None:
    found, known = (Packed(root / f"{name}.stoker").reader.manifest for root in (write(name, tmp_path).parent, GOLDEN))
    for part in ("schema", "variants", "classes", "quarantine", "source", "summary", "num_rows"):
        assert getattr(found, part) == getattr(known, part)


@pytest.mark.parametrize("name", STORES)
def test_the_same_source_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    if pytest.importorskip("pyarrow").__version__ != ARROW:
        pytest.skip(f"the bytes are those of pyarrow {ARROW}")
    assert files_of(write(name, tmp_path)) == files_of(GOLDEN / f"{name}.stoker")


def test_every_kind_of_value_is_read() -> None:
    store = Packed(GOLDEN / "every_kind.stoker", check=True)
    assert_same([store[index] for index in range(3)], [given_back(golden(index)) for index in range(3)])


def test_names_and_classes_are_read() -> None:
    store = Packed(GOLDEN / "named.stoker", check=True)
    assert [store[index] for index in range(3)] == [193, 373, 56_720]
    assert [store.sample_name(index) for index in range(3)] == ["a/1", "b/ä", r"b/\xff"]
    assert store.classes == ["a", "b"]


def test_pixels_variants_and_quarantine_are_read() -> None:
    store = Packed(GOLDEN / "variants.stoker", check=True)
    assert list(store.reader.manifest.quarantine) == [{"index": 1, "name": None, "error": "ValueError: no such sample"}]
    shown = []
    for epoch in range(4):
        set_current_epoch(epoch)
        shown.append([store[index][1] for index in range(2)])
    set_current_epoch(0)
    assert shown == [[0, 12], [10, 2], [0, 12], [10, 2]]
    assert_same(store[1][0], torch.arange(2, 14, dtype=torch.uint8).reshape(1, 4, 3).permute(2, 0, 1))


if __name__ == "__main__":
    for name in STORES:
        if not (GOLDEN / f"{name}.stoker").exists():
            write(name, GOLDEN)
