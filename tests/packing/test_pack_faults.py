"""Kills, full disks, two at once: no half store is ever seen, and the next call ends with the same bytes."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoker
from stoker.data import Arrays
from stoker.data.packed import Packed
from stoker.errors import ArgumentError, DataError, StoreError
from stoker.packing.shards import Attempt
from stoker.store import shard_writer
from tests.leaks import Holdings
from tests.packing.pack_in_process import slowly
from tests.packing.test_pack_images import write_pictures
from tests.store.every_kind import Made, assert_same, files_of, golden

ROOT = Path(__file__).resolve().parents[2]


def packed_bytes(source: Any, target: Path, **options: Any) -> dict[str, bytes]:
    stoker.pack(source, target, **options)
    return files_of(target)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bytes_do_not_depend_on_the_number_of_workers(workers: int, tmp_path: Path, no_leaks: Holdings) -> None:
    source = Made(golden, 30)
    expected = packed_bytes(source, tmp_path / "inline", num_workers=0, shard_bytes=10_000)
    assert packed_bytes(source, tmp_path / "a", num_workers=workers, shard_bytes=10_000) == expected
    assert sorted(expected)[:2] == ["data/00000.arrow", "data/00001.arrow"]


def test_packing_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = Made(lambda index: (time.sleep(0.01), index)[1], 40)
    stoker.pack(source, tmp_path / "a", num_workers=0, shard_bytes=80, progress=lambda *told_now: told.append(told_now))
    assert told == sorted(told)
    assert told[-1] == (40, 40)
    assert len(told) > 2


# Kills


def start(folder: Path, target: Path, workers: int = 2, append: str = "") -> subprocess.Popen[bytes]:
    # `-m`, so that workers find the function that is sent to them.
    arguments = [sys.executable, "-m", "tests.packing.pack_in_process", str(folder), str(target), str(workers), append]
    return subprocess.Popen(arguments, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE)


def kill_at_a_random_moment(process: subprocess.Popen[bytes], begun: Path, longest_s: float) -> bool:
    """Whether it was alive: kills the process and its group some time after `begun` has come to be."""
    while process.poll() is None and not begun.exists():
        time.sleep(0.005)
    time.sleep(random.random() * longest_s)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    _, text = process.communicate()
    assert alive or process.returncode == 0, text.decode()
    return alive


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 24)


def assert_survives_kills(folder: Path, tmp_path: Path, kills: int, longest_s: float) -> None:
    undisturbed, target = tmp_path / "undisturbed", tmp_path / "disturbed"
    stoker.pack(stoker.open(folder), undisturbed, transform=slowly, num_workers=2, shard_bytes=20_000)
    shutil.rmtree(target, ignore_errors=True)
    killed = 0
    for _ in range(kills):
        was_killed = kill_at_a_random_moment(
            start(folder, target), tmp_path / "disturbed.partial" / "plan.json", longest_s
        )
        killed += was_killed
        if target.exists():
            break
        with pytest.raises(FileNotFoundError, match="there is nothing at"):
            stoker.open(target)
    if not target.exists():
        _, text = (process := start(folder, target)).communicate()
        assert process.returncode == 0, text.decode()
    assert killed
    assert files_of(target) == files_of(undisturbed)
    assert not (tmp_path / "disturbed.partial").exists()


@pytest.mark.timeout(300)
def test_a_killed_pack_goes_on_and_ends_with_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    assert_survives_kills(pictures, tmp_path, 3, 0.4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_pack_of_photographs_survives_many_kills(photos: Path, tmp_path: Path) -> None:
    assert_survives_kills(photos, tmp_path, 20, 2.0)


def test_shards_that_are_whole_are_not_packed_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make(index: int) -> int:
        if index == 15 and made.count(15) == 1:  # the first time, all samples are looked at
            made.append(index)
            raise OSError(errno.EIO, "Input/output error")
        made.append(index)
        return index

    with pytest.raises(DataError, match=r"cannot pack sample 15: OSError: \[Errno 5\] Input/output error"):
        stoker.pack(Made(make, 16), tmp_path / "a", num_workers=0, shard_bytes=32)
    assert len(made) == 32
    stoker.pack(Made(make, 16), tmp_path / "a", num_workers=0, shard_bytes=32)
    assert made[32 + 16 :] == [12, 13, 14, 15]
    assert [Packed(tmp_path / "a")[index] for index in range(16)] == list(range(16))


def test_another_source_does_not_go_on_where_the_first_one_was(tmp_path: Path) -> None:
    (tmp_path / "a.partial" / "data").mkdir(parents=True)
    (tmp_path / "a.partial" / "data" / "00009.arrow").write_bytes(b"of another pack")
    (tmp_path / "a.partial" / "manifest.json").write_bytes(b"of another pack")
    (tmp_path / "a.partial" / "plan.json").write_text('{"key": {}}')
    found = packed_bytes(Made(golden, 3), tmp_path / "a", num_workers=0)
    assert found == packed_bytes(Made(golden, 3), tmp_path / "b", num_workers=0)


def test_a_worker_of_a_killed_pack_does_not_write_into_the_next_one(tmp_path: Path) -> None:
    old, new = Attempt(str(tmp_path / "attempt")), Attempt(str(tmp_path / "attempt"))
    old.begin()
    with old.joined():
        pass
    new.begin()
    with pytest.raises(StoreError, match=r"another call of pack has taken over\."), old.joined():
        pass


def test_the_next_pack_waits_for_workers_that_still_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker.packing.shards._PATIENCE_S", 0.1)
    attempt = Attempt(str(tmp_path / "attempt"))
    attempt.begin()
    with attempt.joined(), pytest.raises(StoreError, match="workers of an earlier call still write beside"):
        Attempt(str(tmp_path / "attempt")).begin()


# Two at once


def test_two_packs_at_once_are_refused(tmp_path: Path) -> None:
    def make(index: int) -> int:
        with pytest.raises(StoreError, match=rf"another process is packing {tmp_path}/a now\."):
            stoker.pack(Made(lambda index: index, 3), tmp_path / "a", num_workers=0)
        return index

    stoker.pack(Made(make, 3), tmp_path / "a", num_workers=0)
    assert len(Packed(tmp_path / "a")) == 3


def test_a_failed_pack_leaves_the_place_free(tmp_path: Path, no_leaks: Holdings) -> None:
    def make(index: int) -> int:
        if (tmp_path / "bad").exists():
            raise ValueError("bad")
        return index

    (tmp_path / "bad").touch()
    for workers in (0, 2):
        with pytest.raises(DataError, match="cannot pack sample 0: ValueError: bad"):
            stoker.pack(Made(make, 40), tmp_path / "a", num_workers=workers, shard_bytes=80)
    (tmp_path / "bad").unlink()
    stoker.pack(Made(make, 40), tmp_path / "a", num_workers=2, shard_bytes=80)
    assert len(Packed(tmp_path / "a")) == 40


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = (
        rf"{tmp_path}/a exists already\. Choose another place, remove it, or add to it with append=True \(--append\)\."
    )
    with pytest.raises(ArgumentError, match=text):
        stoker.pack(Made(golden, 3), tmp_path / "a")
    assert files_of(tmp_path) == {}


def test_no_samples_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no samples to pack\."):
        stoker.pack(Made(golden, 0), tmp_path / "a", num_workers=0)


# Disks


def pack_small(target: Path) -> dict[str, bytes]:
    return packed_bytes(Arrays(np.arange(6.0), np.arange(6)), target, num_workers=0, shard_bytes=48)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("where", ["write", "sync"])
def test_a_disk_that_fails_at_any_moment_leaves_no_store(
    where: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pack_small(tmp_path / "whole")
    moment, calls = 0, 0
    owner, name = (shard_writer._HashingFile, "write") if where == "write" else (os, "fsync")
    honest: Any = getattr(owner, name)

    def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == moment + 1:
            raise OSError(number, os.strerror(number))
        return honest(*arguments)

    while True:
        target, calls = tmp_path / f"a{moment}", 0
        monkeypatch.setattr(owner, name, failing)
        try:
            stoker.pack(Arrays(np.arange(6.0), np.arange(6)), target, num_workers=0, shard_bytes=48)
        except OSError as error:
            assert os.strerror(number) in str(error)  # noqa: PT017 -- which call fails is what is counted
            if target.exists():  # the last sync of all: the store is there, whole, and perhaps not yet on the disk
                assert files_of(target) == expected
                shutil.rmtree(target)
            assert not list((tmp_path / f"a{moment}.partial").glob("data/*.new"))
        else:
            break
        monkeypatch.setattr(owner, name, honest)
        assert pack_small(target) == expected
        moment += 1
    assert moment > 8
    assert files_of(target) == expected


def test_a_pack_equals_itself(tmp_path: Path) -> None:
    source = Made(golden, 4)
    assert packed_bytes(source, tmp_path / "a", num_workers=0) == packed_bytes(source, tmp_path / "b", num_workers=0)
    assert_same(Packed(tmp_path / "a")[1]["structure"], golden(1)["structure"])
