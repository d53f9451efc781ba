"""Damaged shards: every flipped byte is found, and none makes the process crash or is given out as data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stoker
from stoker.data import Arrays
from stoker.data.packed import Packed
from stoker.errors import StoreError
from tests.store.every_kind import Made, golden, ppm

ROOT = Path(__file__).resolve().parents[2]


def of_values(index: int) -> dict[str, Any]:
    return {"n": index, "t": torch.ones(2), "r": np.arange(index), "s": "ä" * index, "j": [None, index]}


def of_shapes(index: int) -> dict[str, Any]:
    return {"r": np.zeros((index, 2), np.int16), "m": torch.tensor(True), "b": b"x" * index, "l": [index]}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (of_values, {}),
        (of_shapes, {}),
        (lambda index: (ppm(index), index), {}),
        (lambda index: ppm(index), {"images": "raw"}),
    ],
    ids=["values", "shapes", "images", "pixels"],
)
def test_every_flipped_byte_is_found_and_none_is_given_out(
    make: Any, options: Any, stride: int, tmp_path: Path
) -> None:
    stoker.pack(Made(make, 3), tmp_path / "a", num_workers=0, **options)
    command = [sys.executable, "-m", "tests.store.flip_bytes", str(tmp_path / "a"), str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.fixture
def store(tmp_path: Path) -> Path:
    stoker.pack(Arrays(np.arange(12.0), np.arange(12)), tmp_path / "a", num_workers=0, shard_bytes=96)
    return tmp_path / "a"


def group_of(store: Path) -> tuple[int, int]:
    """Where the values of the second shard's row group begin, and where it does."""
    (group,) = Packed(store).reader.manifest.shards[1].groups
    return group.buffers[0], group.offset


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_verify_names_file_offset_and_rows(store: Path) -> None:
    place, offset = group_of(store)
    flip(store / "data" / "00001.arrow", place)
    assert stoker.verify(store) == [
        f"the row group at offset {offset:,} of {store}/data/00001.arrow (rows 6 to 11) does not match its checksum."
    ]


def test_verify_tells_of_the_footer(store: Path) -> None:
    path = store / "data" / "00001.arrow"
    (group,) = Packed(store).reader.manifest.shards[1].groups
    flip(path, path.stat().st_size - 3)
    assert stoker.verify(store) == [
        (
            f"the shard {path} is altered at an offset from {group.offset + group.num_bytes:,} on, behind its rows, where "
            "Arrow keeps its footer."
        )
    ]


def test_verify_tells_how_far_it_is(store: Path) -> None:
    told: list[tuple[int, int]] = []
    assert stoker.verify(store, num_threads=1, progress=lambda *now: told.append(now)) == []
    sizes = [(store / "data" / name).stat().st_size for name in ("00000.arrow", "00001.arrow")]
    assert told == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]


def test_a_damage_is_named_when_it_is_first_read(store: Path) -> None:
    place, offset = group_of(store)
    flip(store / "data" / "00001.arrow", place)
    checked = Packed(store, check=True)
    assert float(checked[5][0]) == 5
    text = (
        f"the row group at offset {offset:,} of {store}/data/00001.arrow (rows 6 to 11) is damaged: it does not match "
        "its checksum. Copy the file again, or pack the store anew."
    )
    for _ in range(2):
        with pytest.raises(StoreError, match=re.escape(text)):
            checked[6]
        with pytest.raises(StoreError, match=re.escape(text)):
            checked.get_batch(np.arange(12))


@pytest.mark.parametrize("cut", [1, 7, 400, 1 << 30])
def test_a_truncated_shard_is_named_with_the_offset(cut: int, store: Path) -> None:
    path = store / "data" / "00001.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    left = max(0, len(whole) - cut)
    text = (
        f"the shard {path} has {left:,} bytes, and its manifest says {len(whole):,}: it ends at offset {left:,}. "
        "It was cut off or altered; copy it again, or pack the store anew."
    )
    assert stoker.verify(store)[0] == text
    opened = Packed(store)
    assert float(opened[0][0]) == 0
    with pytest.raises(StoreError, match=re.escape(text)):
        opened[6]


def test_a_shard_that_is_too_long_or_missing_is_named(store: Path) -> None:
    path = store / "data" / "00001.arrow"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StoreError, match=f"it goes on after offset {size:,}"):
        Packed(store)[6]
    path.unlink()
    with pytest.raises(StoreError, match=f"cannot open the shard {path}: No such file or directory"):
        Packed(store)[6]
    assert stoker.verify(store) == [f"the shard {path} cannot be read: No such file or directory."]


def test_a_shard_that_is_a_link_out_of_the_store_is_refused(store: Path, tmp_path: Path) -> None:
    path = store / "data" / "00001.arrow"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    text = f"the shard {path} is a link that leads out of the store."
    with pytest.raises(StoreError, match=re.escape(text)):
        Packed(store)[6]
    assert stoker.verify(store) == [text]
    path.unlink()
    (tmp_path / "elsewhere").rename(store / "data" / "inside")
    path.symlink_to("inside")
    assert float(Packed(store)[6][0]) == 6


def test_a_store_may_itself_be_reached_by_a_link(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    assert float(Packed(tmp_path / "link")[6][0]) == 6


def test_values_that_say_what_cannot_be_are_refused_without_checksums_too(tmp_path: Path) -> None:
    stoker.pack(Made(golden, 3), tmp_path / "a", num_workers=0)
    (shard,) = Packed(tmp_path / "a").reader.manifest.shards
    schema = Packed(tmp_path / "a").reader.manifest.schema
    path = tmp_path / "a" / shard.name
    whole = path.read_bytes()

    def overwritten(column: str, buffer: int, data: bytes) -> Packed:
        place = shard.groups[0].buffers[schema.first_buffers[column] + buffer]
        path.write_bytes(whole[:place] + data + whole[place + len(data) :])
        return Packed(tmp_path / "a")

    far = np.array([1 << 40], "<i8").tobytes()
    for column, buffer, data, text in (
        (
            "varying.text",
            0,
            b"\0" * 8 + far,
            "the value of 'varying.text' in its row 0 is said to stand outside of the row group",
        ),
        ("varying.bytes", 0, b"\xff" * 8, "the value of 'varying.bytes' in its row 0 is said to stand outside"),
        ("varying.planes", 2, b"\xff" * 8, "row 0 has another shape than its values"),
        ("varying.cubes", 2, np.array([1 << 30] * 3, "<i4").tobytes(), "row 0 has another shape than its values"),
        ("varying.any", 1, b"}", "a value of column 'varying.any' is no JSON: "),
    ):
        with pytest.raises(StoreError, match=text):
            overwritten(column, buffer, data)[0]
    with pytest.raises(StoreError, match=r"a value of column 'varying\.text' is no UTF-8: "):
        overwritten("varying.text", 1, b"\xff\xff")[1]
