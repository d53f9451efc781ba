"""States and resumes, over torchdata's StatefulDataLoader and Loader with the same assertions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, RandomSampler, Sampler, get_worker_info

from stoker import Loader
from tests.fidelity.loaders import Shares, Squares, as_is, with_and_without_workers

StatefulDataLoader = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
both_stateful = pytest.mark.parametrize("make", [StatefulDataLoader, Loader])
WORKERS = pytest.mark.parametrize(
    "workers",
    [
        pytest.param({}, id="0"),
        pytest.param({"num_workers": 2}, id="2"),
        pytest.param({"num_workers": 2, "persistent_workers": True}, id="2 persistent", marks=pytest.mark.slow),
    ],
)


class Position(Iterator[int]):
    """An iterator with a state: where it is and, where it draws, torch's global generator."""

    def __init__(self, values: list[int], draws: bool) -> None:
        self.values, self.draws, self.place = values, draws, 0

    def __iter__(self) -> Position:
        return self

    def __next__(self) -> int:
        if self.place >= len(self.values):
            raise StopIteration
        place = int(torch.randint(len(self.values), ())) if self.draws else self.place
        self.place += 1
        return self.values[place]

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "generator": torch.get_rng_state().tolist() if self.draws else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place = state["place"]
        if self.draws:
            torch.set_rng_state(torch.tensor(state["generator"], dtype=torch.uint8))


class WithIteratorState(Shares):
    draws = False

    def __iter__(self) -> Any:
        return Position(list(super().__iter__()), self.draws)


class Drawing(WithIteratorState):
    draws = True


class ItsOwnIterator(Position, IterableDataset[int]):
    """A dataset that is its iterator, so it is used up where it is read."""


class WithDatasetState(Shares):
    """A generator whose place the dataset keeps."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.read, self.resumed = 0, None

    def __iter__(self) -> Any:
        self.read, self.resumed = self.resumed or 0, None
        for value in list(super().__iter__())[self.read :]:
            self.read += 1
            yield value

    def state_dict(self) -> dict[str, Any]:
        return {"read": self.read}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.resumed = state["read"]


STREAMS: dict[str, Any] = {
    "no state": lambda: Shares(3, 9),
    "state of the iterator": lambda: WithIteratorState(3, 9),
    "state of the dataset": lambda: WithDatasetState(3, 9),
    "random state": lambda: Drawing(3, 9),
    "its own iterator": lambda: ItsOwnIterator(list(range(12)), draws=True),
}


@both_stateful
@WORKERS
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_resumes_in_the_middle(make: Any, workers: dict[str, Any], name: str) -> None:
    dataset = STREAMS[name]()
    arguments = {"batch_size": 2, "collate_fn": as_is, "snapshot_every_n_steps": 1, **workers}
    loader = make(dataset, **arguments)
    iterator = iter(loader)
    states = [loader.state_dict()]
    for _ in range(3):
        next(iterator)
        states.append(loader.state_dict())
    rest = list(iterator)
    assert len(rest) >= 3
    resumed = make(dataset, **arguments)
    resumed.load_state_dict(json.loads(json.dumps(states[3])))
    assert list(resumed) == rest
    if make is StatefulDataLoader and name == "no state":
        return  # resumed a second time, it counts the batches before the first time twice
    twice = make(dataset, **arguments)
    twice.load_state_dict(states[1])
    iterator = iter(twice)
    next(iterator), next(iterator)
    again = make(dataset, **arguments)
    again.load_state_dict(twice.state_dict())
    assert list(again) == rest


@both_stateful
@WORKERS
@pytest.mark.parametrize("name", ["no state", "state of the iterator", "state of the dataset"])
def test_a_stream_resumes_at_its_ends(make: Any, workers: dict[str, Any], name: str) -> None:
    arguments = {"batch_size": None, "collate_fn": as_is, **workers}
    loader = make(STREAMS[name](), **arguments)
    iterator = iter(loader)
    beginning, whole = loader.state_dict(), list(iterator)
    end = loader.state_dict()
    assert sorted(whole) == list(range(12))
    assert list(loader) == whole, "the next epoch"
    loader.load_state_dict(beginning)
    assert list(loader) == whole
    if make is StatefulDataLoader and name == "state of the dataset" and not workers:
        return  # it takes the end for the place to go on from, and finds nothing there
    for state in (beginning, end):
        resumed = make(STREAMS[name](), **arguments)
        next(iter(resumed))  # another loop was begun and left
        resumed.load_state_dict(state)
        assert list(resumed) == whole


@both_stateful
@with_and_without_workers
@pytest.mark.parametrize("interrupt", [0, 1, 4])
def test_a_shuffled_map_style_dataset(make: Any, num_workers: int, interrupt: int) -> None:
    def loader() -> Any:
        generator = torch.Generator().manual_seed(13)
        sampler = RandomSampler(range(9), generator=generator)
        return make(Squares(9), batch_size=2, sampler=sampler, num_workers=num_workers, generator=generator)

    first = loader()
    iterator = iter(first)
    for _ in range(interrupt):
        next(iterator)
    state, rest = first.state_dict(), [batch.tolist() for batch in iterator]
    resumed = loader()
    resumed.load_state_dict(state)
    assert [batch.tolist() for batch in resumed] == rest
    assert len(rest) == 5 - interrupt


@both_stateful
def test_shuffle_resumes_in_the_same_loader(make: Any) -> None:
    loader = make(Squares(10), batch_size=2, shuffle=True, num_workers=2)
    iterator = iter(loader)
    beginning = loader.state_dict()
    seen = [next(iterator).tolist() for _ in range(2)]
    middle = loader.state_dict()
    loader.load_state_dict(middle)
    seen += [batch.tolist() for batch in loader]
    assert sorted(value for batch in seen for value in batch) == [i * i for i in range(10)]
    loader.load_state_dict(beginning)
    assert [batch.tolist() for batch in loader] == seen


class Walking(Sampler[int]):
    """A user's sampler with a state, which goes on where the last epoch left it."""

    def __init__(self) -> None:
        self.place = self.left = 0

    def __iter__(self) -> Iterator[int]:
        self.left = self.left or 6
        while self.left:
            self.left -= 1
            self.place += 1
            yield (self.place - 1) % 10

    def __len__(self) -> int:
        return 6

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "left": self.left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place, self.left = state["place"], state["left"]


class IteratorWithState(Sampler[int]):
    """A sampler whose iterator has a state."""

    def __iter__(self) -> Iterator[int]:
        return Position(list(range(6)), draws=False)

    def __len__(self) -> int:
        return 6


@both_stateful
@with_and_without_workers
@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("sampler", [Walking, IteratorWithState])
def test_a_sampler_with_a_state(make: Any, num_workers: int, batch_size: int | None, sampler: Any) -> None:
    """Prefetching has drawn ahead of the loop: the state is that of the last batch handed out."""

    def loader() -> Any:
        return make(
            list(range(10)), batch_size=batch_size, sampler=sampler(), num_workers=num_workers, collate_fn=as_is
        )

    first = loader()
    list(first)
    iterator = iter(first)
    next(iterator)
    state, rest = first.state_dict(), list(iterator)
    resumed = loader()
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert list(resumed) == rest
    assert rest[0] == {Walking: {None: 7, 2: [8, 9]}, IteratorWithState: {None: 1, 2: [2, 3]}}[sampler][batch_size]


# Loader alone: what StatefulDataLoader does not promise


@WORKERS
def test_every_state_of_every_epoch_of_a_random_stream(workers: dict[str, Any]) -> None:
    class Random(Shares):
        def __iter__(self) -> Any:
            info = get_worker_info()
            if info is None:
                torch.manual_seed(5)  # without workers a stream draws from the loop's own generator
            for value in super().__iter__():
                yield value, int(torch.randint(10**9, ()))

    def loader() -> Loader:
        return Loader(Random(1, 5), batch_size=2, seed=3, collate_fn=as_is, **workers)

    undisturbed = loader()
    epochs = [list(undisturbed), list(undisturbed)]
    other = loader()
    for epoch in range(2):
        iterator = iter(other)
        for step in range(len(epochs[epoch]) + 1):
            state = other.state_dict()
            if epoch == 1 or step in (0, 2):
                resumed = loader()
                resumed.load_state_dict(state)
                assert list(resumed) == epochs[epoch][step:]
            next(iterator, None)
