"""The largest batch that fits is found, in few attempts, and each attempt begins with the last one's memory freed."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker import ArgumentError, MemoryLimitError
from stoker.train import find_batch_size
from stoker.train.batch_size import largest_that_fits


@given(capacity=st.integers(0, 100_000), limit=st.integers(1, 100_000), data=st.data())
def test_the_search_finds_the_largest_in_few_attempts(capacity: int, limit: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(1, limit))
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= capacity

    found = largest_that_fits(fits, start, limit)
    assert found == (min(capacity, limit) if capacity >= start else None)
    assert len(tried) == len(set(tried)) <= 2 * limit.bit_length() + 1
    assert max(tried) <= min(limit, 2 * found if found else start)


@pytest.mark.parametrize(
    ("arguments", "found"), [({}, 43), ({"multiple_of": 8}, 40), ({"start": 30}, 43), ({"limit": 20}, 20)]
)
def test_the_largest_batch_that_fits(arguments: dict[str, int], found: int) -> None:
    def step(batch_size: int) -> None:
        if batch_size > 43:
            raise MemoryError
        if batch_size % arguments.get("multiple_of", 1):
            raise AssertionError(f"{batch_size} is no multiple")

    assert find_batch_size(step, **arguments) == found


def test_not_even_the_smallest_fits() -> None:
    def step(batch_size: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryLimitError, match=r"not even a batch of 48 fits: MemoryError\."):
        find_batch_size(step, start=44, multiple_of=8)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=lambda error: str(error)[:12],
)
def test_what_counts_as_out_of_memory(error: Exception) -> None:
    def step(batch_size: int) -> None:
        if batch_size > 11:
            raise error

    assert find_batch_size(step) == 11


def test_torch_s_own_allocator_refuses() -> None:
    assert find_batch_size(lambda batch_size: torch.empty(batch_size**12, dtype=torch.uint8), limit=1000) < 1000


def test_another_error_is_the_caller_s() -> None:
    def step(batch_size: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        find_batch_size(step)


def test_an_attempt_begins_when_the_last_one_s_memory_is_free() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def step(batch_size: int) -> None:
        assert [ref() for ref in alive] == [None] * len(alive)
        held = torch.ones(batch_size)
        cycle = [held]
        cycle.append(cycle)  # type: ignore[arg-type]
        alive.append(weakref.ref(held))
        if batch_size > 5:
            raise MemoryError

    assert find_batch_size(step) == 5
    assert len(alive) == 6  # 1, 2, 4, 8, 6, 5


needs_clear_refs = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux alone resets the peak of resident memory"
)
_SEARCH = """
import torch
from stoker.train import find_batch_size

kept = [bytes(1000) for _ in range({num_kept})]
above = bytes(1000)  # keeps the C library from giving back what lies below
kept.clear()
print(find_batch_size(lambda n: torch.ones(n, 1 << 20, dtype=torch.uint8).shape, memory_limit="64MiB", device="cpu"))
"""


def allocate(batch_size: int) -> None:
    torch.ones(batch_size, 1 << 20, dtype=torch.uint8)


@needs_clear_refs
@pytest.mark.parametrize("num_kept", [0, 40_000], ids=["fresh heap", "40 MB that the C library keeps"])
def test_a_given_limit_on_the_cpu(num_kept: int) -> None:
    """In a process of its own: what other tests left in this one's heap is measured too."""
    code = _SEARCH.format(num_kept=num_kept)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 48 <= int(done.stdout) <= 64


@needs_clear_refs
def test_a_limit_that_nothing_fits() -> None:
    with pytest.raises(
        MemoryLimitError, match=r"not even a batch of 100 fits: a step took .* memory_limit is 67,108,864"
    ):
        find_batch_size(allocate, start=100, memory_limit="64MiB", device="cpu")


@pytest.mark.needs_cuda
@pytest.mark.parametrize("memory_limit", [None, "64MiB"])
def test_on_cuda(memory_limit: str | None) -> None:
    def step(batch_size: int) -> None:
        torch.ones(batch_size, 1 << 20, dtype=torch.uint8, device="cuda")

    free = torch.cuda.mem_get_info()[0] >> 20
    found = find_batch_size(step, memory_limit=memory_limit, limit=1 << 18)
    assert found == 64 if memory_limit else 0.8 * free < found <= free


@pytest.mark.parametrize("arguments", [{"start": 0}, {"start": 9, "limit": 8}, {"multiple_of": 8, "limit": 7}])
def test_mistakes_are_told(arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="start and multiple_of must be at least 1"):
        find_batch_size(lambda batch_size: None, **arguments)
