"""Rows that are read with preadv, since the store is not in memory: the same as those copied from the mapping."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import stoker
from stoker.errors import StoreError
from stoker.store.reader import Reader
from stoker.store.schema import Column
from tests.store.every_kind import Made, assert_same, numbers


def wide(index: int) -> dict[str, object]:
    """Small and large values, so that some rows are neighbours, and others too far from each other to be read at once."""
    return {**numbers(index), "text": "x" * (index % 5), "ragged": np.full(index * 400, index)}


def copy(reader: Reader, column: Column, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return reader.copy(column, reader.find(rows))


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "is_in_memory", lambda self: False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    stoker.pack(Made(wide, 120), tmp_path / "a", num_workers=0, shard_bytes=1 << 20)
    return tmp_path / "a"


ORDERS = {
    "in order": np.arange(120),
    "backwards": np.arange(120)[::-1].copy(),
    "shuffled": np.random.default_rng(0).permutation(120),
    "some twice": np.array([7, 7, 3, 119, 7, 0]),
    "with gaps": np.arange(0, 120, 3),
    "one": np.array([64]),
    "none": np.array([], np.int64),
}


@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS.keys())
def test_reading_gives_what_copying_gives(store: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(str(store))
    assert len(reader.manifest.shards) > 1
    for column in reader.manifest.schema.columns:
        monkeypatch.setattr(Reader, "is_in_memory", lambda self: True)
        copied, bounds = copy(Reader(str(store)), column, rows)
        monkeypatch.setattr(Reader, "is_in_memory", lambda self: False)
        read, also = copy(Reader(str(store)), column, rows)
        assert read.tobytes() == copied.tobytes()
        assert also.tolist() == bounds.tolist()


@pytest.mark.usefixtures("cold")
def test_samples_of_a_store_that_is_not_in_memory(store: Path) -> None:
    opened = stoker.open(store)
    for index in (0, 60, 119):
        assert_same(opened[index], wide(index))


@pytest.mark.usefixtures("cold")
def test_more_rows_than_one_call_takes(tmp_path: Path) -> None:
    values = np.arange(5000, dtype=np.int32).reshape(-1, 2)
    stoker.pack(stoker.data.Arrays(values, np.zeros(2500)), tmp_path / "a", num_workers=0)
    rows = np.arange(0, 2500, 2)  # two spans each: the row, and the gap behind it
    found, _ = stoker.open(tmp_path / "a").get_batch(rows)
    assert found.tolist() == values[rows].tolist()


@pytest.mark.usefixtures("cold")
def test_a_shard_that_became_shorter_while_it_was_open_is_an_error(store: Path) -> None:
    reader = Reader(str(store))
    column = reader.manifest.schema["ragged"]
    rows = np.array([reader.num_rows - 1])
    copy(reader, column, rows)
    path = reader.path_of(len(reader.manifest.shards) - 1)
    entry = reader.manifest.shards[-1].groups[-1]
    os.truncate(path, entry.offset + entry.num_bytes - 4096)
    with pytest.raises(StoreError, match=rf"cannot read the shard .*{os.path.basename(path)} .* it ends there"):
        copy(reader, column, rows)


@pytest.mark.usefixtures("cold")
def test_a_shard_that_went_away_while_it_was_open_is_an_error(store: Path) -> None:
    reader = Reader(str(store))
    column = reader.manifest.schema["whole"]
    copy(reader, column, np.array([0]))
    os.unlink(reader.path_of(0))
    with pytest.raises(StoreError, match="No such file"):
        copy(reader, column, np.array([0]))


def test_what_has_just_been_written_is_in_memory_until_it_is_dropped(store: Path) -> None:
    if os.stat(store).st_dev == os.stat("/dev/shm").st_dev:
        pytest.skip("this file system is memory")
    reader = Reader(str(store))
    assert reader.is_in_memory()
    for shard in range(len(reader.manifest.shards)):
        descriptor = os.open(reader.path_of(shard), os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    assert not reader.is_in_memory()
