"""Rows are announced before they are handed out, in their order, and nothing else changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from stoker.engine.protocol import BatchSpec
from stoker.engine.read_ahead import with_read_ahead


def specs(count: int) -> Iterator[BatchSpec]:
    return (BatchSpec(0, step, 4 * step, np.arange(4 * step, 4 * step + 4)) for step in range(count))


class Cold:
    """A dataset on a slow disk; notes what it is told."""

    mean_sample_bytes = 2 << 20  # of 64 MiB ahead: 8 batches of 4

    def __init__(self, *, in_memory: bool = False, fails: bool = False) -> None:
        self.announced: list[list[int]] = []
        self.told = threading.Condition()
        self.is_in_memory = lambda: in_memory
        self.fails = fails

    def read_ahead(self, indices: Any) -> None:
        with self.told:
            self.announced.append(indices.tolist())
            self.told.notify_all()
        if self.fails:
            raise OSError("the disk is gone")

    def has_heard_of(self, count: int) -> bool:
        with self.told:
            return self.told.wait_for(lambda: len(self.announced) >= count, timeout=30)


def test_batches_are_announced_ahead_of_need() -> None:
    cold = Cold()
    stream = with_read_ahead(specs(20), cold, 4)
    assert next(stream).step == 0
    assert cold.has_heard_of(9)
    assert [spec.step for spec in stream] == list(range(1, 20))
    assert cold.has_heard_of(20)
    assert [first for first, *_ in cold.announced] == list(range(0, 80, 4))


def test_an_error_while_reading_ahead_is_left_to_whoever_reads() -> None:
    cold = Cold(fails=True)
    assert len(list(with_read_ahead(specs(20), cold, 4))) == 20
    assert cold.has_heard_of(20)


def test_what_is_in_memory_or_cannot_read_ahead_is_left_alone() -> None:
    cold, given = Cold(in_memory=True), specs(3)
    assert with_read_ahead(given, cold, 4) is given
    assert with_read_ahead(given, object(), 4) is given


def test_the_thread_ends_when_the_loop_is_left() -> None:
    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "stoker-read-ahead"]

    stream = with_read_ahead(specs(100), Cold(), 4)
    next(stream)
    (thread,) = threads()
    del stream
    thread.join(30)
    assert not thread.is_alive()
