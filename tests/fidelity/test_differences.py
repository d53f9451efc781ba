"""Each deliberate difference from DataLoader and StatefulDataLoader: docs/differences.md names these tests, and this page's tests it."""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset, get_worker_info

import stoker
from stoker import Loader
from stoker.testing import KillsWorker, epoch_hashes
from tests.fidelity.loaders import Shares, Squares, as_is

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"


def values(loader: Any) -> list[Any]:
    return [value for batch in loader for value in batch.tolist()]


class Seeds(Squares):
    def __getitem__(self, index: int) -> int:
        return torch.initial_seed() % 2**31


def seed_with_7(number: int) -> None:
    torch.manual_seed(7)


def test_randomness_belongs_to_samples() -> None:
    arguments: dict[str, Any] = {"num_workers": 2, "worker_init_fn": seed_with_7}
    assert set(values(DataLoader(Seeds(8), **arguments))) == {7}
    assert len(set(values(Loader(Seeds(8), **arguments)))) == 8
    assert set(values(Loader(Seeds(8), reseed="worker", **arguments))) == {7}


def test_the_seed_is_drawn_once() -> None:
    def two_epochs(make: Any) -> list[list[Any]]:
        loader, epochs = make(Squares(50), shuffle=True), []
        for _ in range(2):
            torch.manual_seed(3)
            epochs.append(values(loader))
        return epochs

    first, second = two_epochs(DataLoader)
    assert first == second
    first, second = two_epochs(Loader)
    assert first != second
    loader = Loader(Squares(50), shuffle=True, seed=5)
    epoch = values(loader)
    loader.set_epoch(0)
    assert values(loader) == epoch


def test_the_shuffled_order_is_another() -> None:
    orders = [
        values(make(Squares(50), shuffle=True, generator=torch.Generator().manual_seed(1)))
        for make in (DataLoader, Loader)
    ]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_a_seeded_sampler_has_epochs_of_its_own() -> None:
    def loaders() -> list[Any]:
        return [
            make(range(50), sampler=RandomSampler(range(50), generator=torch.Generator().manual_seed(1)))
            for make in (DataLoader, Loader)
        ]

    theirs, ours = loaders()
    assert values(theirs) == values(ours)
    second = values(ours)
    assert values(theirs) != second
    jumped = loaders()[1]
    jumped.set_epoch(1)
    assert values(jumped) == second, "any epoch can be had without those before it"


class Drawing(Squares):
    def __getitem__(self, index: int) -> float:
        return float(torch.rand(()))


def test_the_loop_s_random_state_is_its_own() -> None:
    torch.manual_seed(1)
    expected = torch.rand(())
    for loader, untouched in ((DataLoader(Drawing(4)), False), (Loader(Drawing(4), seed=1), True)):
        torch.manual_seed(1)
        list(loader)
        assert bool(torch.rand(()) == expected) is untouched


def test_ranks_have_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert values(DataLoader(range(8), batch_size=2)) == list(range(8))
    assert values(Loader(range(8), batch_size=2, seed=0)) == [2, 3, 6, 7]
    assert values(Loader(range(8), sampler=[5, 6], seed=0)) == [5, 6], "a user's own sampler is not split again"


class Meeting(Dataset[int]):
    """Sample 0 comes when another worker makes sample 1 at the same time."""

    def __init__(self) -> None:
        self.barrier = multiprocessing.Barrier(2)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        self.barrier.wait(60)
        info = get_worker_info()
        assert info is not None
        return info.id


def test_all_workers_help_with_one_batch() -> None:
    (batch,) = Loader(Meeting(), batch_size=2, num_workers=2)
    assert sorted(batch.tolist()) == [0, 1]


def test_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    loader = Loader(KillsWorker(Squares(12), {5}, tmp_path), batch_size=3, num_workers=2)
    assert values(loader) == [index**2 for index in range(12)]
    assert list(tmp_path.iterdir()), "no worker was killed"


def test_arrays_are_read_without_workers() -> None:
    loader = Loader(TensorDataset(torch.arange(10)), batch_size=5, num_workers=2)
    list(loader)
    assert loader.stats()["executor"] == "inline"


class HoldsFile(Squares):
    def __init__(self, path: Path) -> None:
        super().__init__(3)
        self.file = path.open("rb")


def test_what_cannot_travel_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    dataset = HoldsFile(tmp_path / "data")
    assert values(DataLoader(dataset, num_workers=1, multiprocessing_context="fork")) == [0, 1, 4]
    with pytest.raises(stoker.TravelError, match=r"dataset\.file cannot be sent to worker processes"):
        list(Loader(dataset, num_workers=1))
    assert values(Loader(dataset, num_workers=1, multiprocessing_context="fork")) == [0, 1, 4]
    dataset.file.close()


class Counted(Squares):
    def __init__(self) -> None:
        super().__init__(6)
        self.count = multiprocessing.Value("i", 0)

    def __getitem__(self, index: int) -> int:
        with self.count.get_lock():
            self.count.value += 1
        return index


def test_persistent_workers_begin_the_next_epoch_early() -> None:
    dataset = Counted()
    loader = Loader(dataset, batch_size=2, num_workers=1, persistent_workers=True)
    assert values(loader) == list(range(6))
    deadline = time.monotonic() + 20
    while dataset.count.value <= 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_iterators_over_persistent_workers_are_independent() -> None:
    def pair(make: Any) -> list[Any]:
        loader = make(Squares(3), num_workers=1, persistent_workers=True)
        first = iter(loader)
        next(first)
        second = iter(loader)
        return [next(second).item(), next(first).item()]

    assert (pair(DataLoader), pair(Loader)) == ([0, 1], [0, 1])
    loader = Loader(Squares(3), num_workers=1, persistent_workers=True)
    assert iter(loader) is not iter(loader)
    torch_s = DataLoader(Squares(3), num_workers=1, persistent_workers=True)
    assert iter(torch_s) is iter(torch_s)


def test_an_empty_dataset_has_no_batches_when_shuffled_either() -> None:
    with pytest.raises(ValueError, match="num_samples should be a positive integer"):
        DataLoader(Squares(0), shuffle=True)
    assert list(Loader(Squares(0), shuffle=True)) == []


@pytest.mark.parametrize("arguments", [{"timeout": 3}, {"num_workers": 1, "prefetch_factor": 0}])
def test_arguments_are_checked_at_once(arguments: dict[str, Any]) -> None:
    DataLoader(Squares(), **arguments)
    with pytest.raises(stoker.ArgumentError):
        Loader(Squares(), **arguments)


class Nested(Squares):
    def __init__(self, make: Any) -> None:
        super().__init__(2)
        self.make = make

    def __getitem__(self, index: int) -> int:
        return sum(values(self.make(Squares(3), num_workers=1)))


@pytest.mark.slow
def test_a_worker_may_have_workers() -> None:
    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        list(DataLoader(Nested(DataLoader), num_workers=1))
    assert values(Loader(Nested(Loader), num_workers=1)) == [5, 5]


def test_batches_are_private_memory() -> None:
    assert next(iter(DataLoader(Squares(), num_workers=1))).is_shared()
    assert not next(iter(Loader(Squares(), num_workers=1))).is_shared()
    array = np.zeros(3, np.float32)
    next(iter(DataLoader([array], batch_size=None)))[0] = 1
    assert array[0] == 1, "torch hands out the dataset's own memory"


def test_private_attributes_of_torch_s_iterators_are_not_there() -> None:
    iterator = iter(Loader(Squares(), num_workers=1))
    assert not hasattr(iterator, "_workers")
    assert not hasattr(iterator, "_shutdown_workers")


# StatefulDataLoader


def test_a_state_is_a_place_and_nothing_is_replayed() -> None:
    loader = Loader(Squares(100), batch_size=2, shuffle=True, seed=1)
    before = loader.state_dict()
    assert (before["epoch"], before["samples"]) == (0, 0), "there is a state before the first iteration"
    next(iter(loader))
    assert loader.state_dict()["samples"] == 2
    assert len(json.dumps(loader.state_dict())) < 400


def test_another_number_of_workers_may_go_on() -> None:
    first = Loader(Drawing(9), batch_size=2, shuffle=True, num_workers=2)
    iterator = iter(first)
    next(iterator)
    state, rest = first.state_dict(), epoch_hashes(iterator)
    other = Loader(Drawing(9), batch_size=2, shuffle=True)
    other.load_state_dict(state)
    assert epoch_hashes(other) == rest
    streams = Loader(Shares(4, 4), num_workers=2)
    next(iter(streams))
    with pytest.raises(stoker.StateError, match=r"taken from 2 stream\(s\).*this loader has 1.*the same num_workers"):
        Loader(Shares(4, 4)).load_state_dict(streams.state_dict())


def test_a_state_of_another_dataset_is_refused() -> None:
    with pytest.raises(stoker.StateError, match="the state is of another dataset"):
        Loader(Squares(9)).load_state_dict(Loader(Squares(8)).state_dict())


class Remembering(Squares):
    def state_dict(self) -> dict[str, Any]:
        raise AssertionError("a map-style dataset is not asked for a state")

    load_state_dict = state_dict


def test_a_map_style_dataset_is_not_asked_for_a_state() -> None:
    loader = Loader(Remembering(4), batch_size=2, collate_fn=as_is)
    next(iter(loader))
    loader.load_state_dict(loader.state_dict())
    assert list(loader) == [[4, 9]]


def test_every_state_is_exact() -> None:
    loader = Loader(Squares(9), snapshot_every_n_steps=1000)
    iterator = iter(loader)
    next(iterator), next(iterator)
    assert loader.state_dict()["samples"] == 2


def test_the_page_names_every_difference() -> None:
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    assert named == here - {"test_the_page_names_every_difference"}
