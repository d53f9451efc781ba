"""A prefetching iterator over any iterable, and a queue that loses nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import stoker
from stoker.device import prefetch
from stoker.device.ahead import Ahead, Pulled
from stoker.device.lanes import PlainLane
from stoker.errors import ArgumentError

DATASET = TensorDataset(torch.arange(20), torch.arange(20) * 2)


class Source:
    """Notes how far it was asked."""

    def __init__(self, length: int, fails_at: int | None = None) -> None:
        self.length, self.fails_at, self.asked = length, fails_at, 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        for number in range(self.length):
            self.asked = number + 1
            if number == self.fails_at:
                raise ValueError("damaged")
            yield torch.tensor(number)


@pytest.mark.parametrize("depth", [1, 3])
def test_it_runs_ahead_and_gives_all_in_order(depth: int) -> None:
    source = Source(8)
    for number, batch in enumerate(prefetch(source, "meta", depth=depth)):
        assert batch.device.type == "meta"
        assert source.asked == min(8, number + 1 + depth)
    assert number == 7
    assert [int(batch) for batch in prefetch(Source(8), "cpu", depth=depth)] == list(range(8))
    assert list(prefetch([], "cpu", depth=depth)) == []


def test_an_error_comes_at_its_place_and_a_generator_is_over_then() -> None:
    batches = iter(prefetch(Source(8, fails_at=2), "cpu", depth=3))
    assert [int(next(batches)) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="damaged"):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


def test_a_transform_runs_on_the_device() -> None:
    [batch] = prefetch([{"x": torch.ones(2)}], "cpu", transform=lambda batch: {"y": batch["x"] + 1})
    assert batch["y"].tolist() == [2, 2]


def test_an_interrupt_while_filling_loses_nothing() -> None:
    interrupts = [False, False, True, False, False, False]
    numbers = iter(range(4))

    def pull() -> Pulled | None:
        if interrupts.pop(0):
            raise KeyboardInterrupt
        number = next(numbers, None)
        return None if number is None else Pulled(number, note=number)

    ahead = Ahead(PlainLane(torch.device("cpu")), 1, pull)
    assert ahead.next() == (0,)
    with pytest.raises(KeyboardInterrupt):
        ahead.next()
    assert ahead.note == 0
    assert [ahead.next(), ahead.next(), ahead.next(), ahead.next()] == [(1,), (2,), (3,), None]


def test_a_torch_loader_and_its_attributes() -> None:
    loader = DataLoader(DATASET, 4)
    fetched = prefetch(loader, "cpu")
    assert len(fetched) == 5
    assert fetched.dataset is DATASET
    for _ in range(2):
        for batch, expected in zip(fetched, loader, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fetched.nonsense
    with pytest.raises(AttributeError, match="state_dict"):
        fetched.state_dict()


def test_the_state_is_of_what_the_loop_was_given() -> None:
    def loader() -> stoker.Loader:
        return stoker.Loader(DATASET, 3, shuffle=True, seed=4)

    whole = [batch[0].tolist() for _ in range(2) for batch in loader_twice(loader())]
    fetched, seen, states = prefetch(loader(), "cpu", depth=2), [], []
    states.append(copy.deepcopy(fetched.state_dict()))
    for batch in fetched:
        seen.append(batch[0].tolist())
        states.append(copy.deepcopy(fetched.state_dict()))
    states.append(fetched.state_dict())
    for taken, state in enumerate(states[:-1]):
        resumed = prefetch(loader(), "cpu", depth=2)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert seen[:taken] + [batch[0].tolist() for batch in resumed] == seen
    after = prefetch(loader(), "cpu")
    after.load_state_dict(states[-1])
    assert [batch[0].tolist() for batch in after] == whole[7:14]


def loader_twice(loader: stoker.Loader) -> Iterator[Any]:
    for _ in range(2):
        yield from loader


def test_a_depth_of_none_is_refused() -> None:
    with pytest.raises(ArgumentError, match="depth must be at least 1; got 0"):
        prefetch([], "cpu", depth=0)


@pytest.mark.needs_cuda
def test_on_a_device() -> None:
    for batch, expected in zip(prefetch(DataLoader(DATASET, 4), "cuda", depth=2), DataLoader(DATASET, 4), strict=True):
        assert batch[0].device.type == "cuda"
        assert torch.equal(batch[1].cpu(), expected[1])
