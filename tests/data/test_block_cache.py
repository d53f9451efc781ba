"""Blocks of rows, kept as far as they fit."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.data.block_cache import BlockCache


def test_a_cache_makes_a_block_once_for_all_threads() -> None:
    made: list[int] = []
    barrier = threading.Barrier(4, timeout=10)

    def make(number: int) -> tuple[str, int]:
        made.append(number)
        barrier.wait()  # four different blocks are made at once, or this breaks
        return f"block {number}", 10

    cache = BlockCache(make, 1000)
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(cache.get(n % 4))) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1, 2, 3]
    assert sorted(found) == sorted(f"block {number}" for number in range(4) for _ in range(4))


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 60))
def test_a_cache_keeps_what_was_used_last(asked: list[int], limit: int) -> None:
    made: list[int] = []
    cache = BlockCache(lambda number: (made.append(number), 10 + number), limit)
    kept: list[int] = []
    for number in asked:
        known, count = number in kept, len(made)
        cache.get(number)
        assert len(made) == count + (not known)
        kept = [*(other for other in kept if other != number), number]
        if not known:
            while len(kept) > 1 and sum(10 + other for other in kept) > limit:
                kept.pop(0)
        assert cache.num_bytes == sum(10 + other for other in kept)


def test_a_block_that_fails_is_tried_again() -> None:
    answers: list[Any] = [ValueError("not yet"), "there"]

    def make(_: int) -> tuple[Any, int]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, 1

    cache = BlockCache(make, 10)
    with pytest.raises(ValueError, match="not yet"):
        cache.get(0)
    assert cache.get(0) == "there"
