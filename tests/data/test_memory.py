"""Lists held once, datasets held in memory, caches."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import stoker
from stoker import Loader
from stoker.data import Cached, InMemory, SharedList
from stoker.data.shared_list import shareable
from stoker.testing import Counting, Noisy, batch_hash, epoch_hashes

atoms = st.one_of(
    st.text(st.characters(codec=None)), st.binary(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()
)
items = st.one_of(
    st.lists(st.text(st.characters(codec=None))), st.lists(atoms), st.lists(st.tuples(st.text(), st.integers()))
)


@given(items, st.data())
def test_it_reads_like_the_list_it_was_made_of(values: list[Any], data: st.DataObject) -> None:
    shared = SharedList(values)
    assert shareable(values)
    assert (list(shared), len(shared), shared == values) == (values, len(values), True)
    assert [type(value) for value in shared] == [type(value) for value in values]
    bounds = data.draw(st.slices(len(values)))
    assert shared[bounds] == values[bounds]
    if values:
        index = data.draw(st.integers(-len(values), len(values) - 1))
        assert shared[index] == values[index]
        assert shared.index(values[index]) == values.index(values[index])
    assert pickle.loads(pickle.dumps(shared)) == values


@given(st.lists(st.text(), min_size=1))
def test_the_first_change_makes_it_a_list_of_its_own(values: list[str]) -> None:
    shared, expected = SharedList(values), list(values)
    other = copy.copy(shared)
    for target in (shared, expected):
        target[0] = "new"
        target.append("last")
        target.sort()
        del target[0]
    assert shared == expected
    assert other == values


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is out of range for 3 elements"):
        SharedList(["a", "b", "c"])[index]


@pytest.mark.parametrize("values", [[[1]], [{}], [object()], ("a",), ["a", np.int64(3)], [("a", [1])]])
def test_what_could_be_changed_or_is_not_plain_is_not_shared(values: Any) -> None:
    assert not shareable(values)


# In memory


def test_it_gives_the_samples_it_was_made_of() -> None:
    class Mixed(Counting):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index).float(), index, index / 3

    for source in (Counting(50), Mixed(50), TensorDataset(torch.randn(50, 3), torch.arange(50))):
        held = InMemory(source, limit_bytes=1 << 20, num_threads=3)
        assert hasattr(held, "get_batch")
        assert [batch_hash(held[index]) for index in range(50)] == [batch_hash(source[index]) for index in range(50)]
        assert epoch_hashes(Loader(held, batch_size=8, shuffle=True, seed=1)) == epoch_hashes(
            Loader(source, batch_size=8, shuffle=True, seed=1)
        )


def test_samples_of_other_shapes_are_kept_as_they_are() -> None:
    class Ragged(Counting):
        def __getitem__(self, index: int) -> Any:
            return {"row": torch.arange(index % 5), "name": f"n{index}"}

    held = InMemory(Ragged(200), limit_bytes=1 << 20)
    assert not hasattr(held, "get_batch")
    held[3]["row"].fill_(9)
    assert held[3]["row"].tolist() == [0, 1, 2]


def test_what_does_not_fit_is_refused_with_the_figures() -> None:
    rows = TensorDataset(torch.zeros(10_000, 1000))
    with pytest.raises(
        stoker.MemoryLimitError, match=r"samples suggest about 4\d,\d{3},\d{3} bytes in all, and the limit is 1,000,000"
    ):
        InMemory(rows, limit_bytes=1_000_000)

    class Growing(Counting):
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(1 if index % 7 == 0 else 1000)  # the samples that are tried first are small

    with pytest.raises(
        stoker.MemoryLimitError, match=r"its first [\d,]+ of 896 samples take [\d,]+ bytes, and the limit is 1,000,000"
    ):
        InMemory(Growing(896), limit_bytes=1_000_000)


def test_it_reads_in_parallel_and_tells_how_far_it_is() -> None:
    barrier = threading.Barrier(3, timeout=10)

    class Meeting(Counting):
        def __getitem__(self, index: int) -> torch.Tensor:
            if index < 3:
                barrier.wait()  # breaks unless three threads read at once
            return super().__getitem__(index)

    told: list[tuple[int, int]] = []
    InMemory(Meeting(20), limit_bytes=1 << 20, num_threads=3, progress=lambda done, length: told.append((done, length)))
    assert told == [(done, 20) for done in range(1, 21)]


def test_frozen_randomness_is_refused() -> None:
    foreign = stoker.data.Arrays(np.arange(4)).map(**{"0": lambda value: value})
    for make in (lambda: InMemory(foreign, limit_bytes=100), lambda: Cached(foreign, limit_bytes=100)):
        with pytest.raises(stoker.ArgumentError, match="draws random numbers, which"):
            make()


# Caches


class Reads(Counting):
    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.reads: list[int] = []

    def __getitem__(self, index: int) -> torch.Tensor:
        self.reads.append(index)
        return super().__getitem__(index)


def test_a_sample_is_read_once_within_the_limit() -> None:
    source = Reads(10)
    cached = Cached(source, limit_bytes=1 << 20)
    for _ in range(3):
        assert [cached[index][0].item() for index in range(10)] == list(range(10))
    assert source.reads == list(range(10))
    assert (cached.hits, cached.misses) == (20, 10)


def test_the_limit_holds() -> None:
    source = Reads(10)
    cached = Cached(source, limit_bytes=3 * 80)
    for _ in range(2):
        for index in range(10):
            cached[index]
    assert cached.num_bytes <= 240
    assert len(source.reads) == 20 - 3


def test_what_is_kept_cannot_be_changed_from_outside() -> None:
    cached = Cached(Counting(3), limit_bytes=1000)
    for _ in range(3):
        cached[1].fill_(-1)
    assert cached[1].tolist() == [1, 1]


def test_a_worker_begins_its_own_cache() -> None:
    cached = Cached(Counting(8), limit_bytes=1000)
    list(cached)  # type: ignore[call-overload]
    assert pickle.loads(pickle.dumps(cached)).num_bytes == 0
    assert epoch_hashes(Loader(cached, batch_size=4, num_workers=2, executor="process")) == epoch_hashes(
        Loader(Counting(8), batch_size=4)
    )


def test_unknown_datasets_are_cached_as_they_are() -> None:
    cached = Cached(Noisy(4), limit_bytes=1000)
    assert batch_hash(cached[0]) == batch_hash(cached[0])
