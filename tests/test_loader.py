"""Loader as its users meet it: DataLoader's face, its own additions, and the errors for the obvious mistakes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

import stoker
from stoker import Loader
from stoker.testing import batch_hash, epoch_hashes
from tests.leaks import Holdings

TEN = TensorDataset(torch.arange(10))


class Endless(Dataset[int]):
    """10¹² samples, none of which is kept anywhere."""

    def __len__(self) -> int:
        return 10**12

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0."),
        ({"num_workers": "two"}, ValueError, "num_workers must be a number or 'auto'; got 'two'."),
        ({"num_workers": -1}, ValueError, "num_workers option should be non-negative"),
        ({"executor": "gpu"}, ValueError, "executor must be 'auto', 'inline', 'thread' or 'process'; got 'gpu'."),
        ({"executor": "process"}, ValueError, "executor='process' needs num_workers of at least 1; got 0."),
        ({"reseed": "never"}, ValueError, "reseed must be 'sample' or 'worker'; got 'never'."),
        ({"tail": "keep"}, ValueError, "tail must be 'pad' or 'drop'; got 'keep'."),
        ({"seed": "seven"}, ValueError, "seed must be a whole number or None; got 'seven'."),
        ({"seed": 7.5}, ValueError, "seed must be a whole number or None; got 7.5."),
        (
            {"sampler": [1, 2], "shuffle": True},
            ValueError,
            "sampler option is mutually exclusive with shuffle: .* both",
        ),
    ],
)
def test_obvious_mistakes_are_told(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Loader(TEN, **arguments)


def test_it_is_a_dataloader_with_its_attributes() -> None:
    loader = Loader(TEN, batch_size=4, shuffle=True, seed=0)
    assert isinstance(loader, DataLoader)
    assert type(loader.batch_sampler) is BatchSampler
    assert isinstance(loader.sampler, RandomSampler)
    assert isinstance(Loader(TEN).sampler, SequentialSampler)
    assert [batch.tolist() for (batch,) in loader] == [TEN.tensors[0][rows].tolist() for rows in loader.batch_sampler]


@pytest.mark.parametrize("arguments", [{}, {"drop_last": True}, {"batch_size": None}, {"batch_size": 16}])
def test_it_is_as_long_as_torch_s_and_gives_the_same_in_order(arguments: dict[str, Any]) -> None:
    ours, theirs = Loader(TEN, **{"batch_size": 4, **arguments}), DataLoader(TEN, **{"batch_size": 4, **arguments})
    assert len(ours) == len(theirs)
    assert [batch[0].tolist() for batch in ours] == [batch[0].tolist() for batch in theirs]


@pytest.mark.parametrize(
    "seeded",
    [
        lambda: (torch.manual_seed(5), Loader(TEN, 3, shuffle=True))[1],
        lambda: Loader(TEN, 3, shuffle=True, generator=torch.Generator().manual_seed(5)),
        lambda: Loader(TEN, 3, shuffle=True, seed=5),
    ],
    ids=["torch.manual_seed", "generator", "seed"],
)
def test_a_seed_decides_the_order(seeded: Callable[[], Loader]) -> None:
    first, second = epoch_hashes(seeded()), epoch_hashes(seeded())
    assert first == second
    assert epoch_hashes(Loader(TEN, 3, shuffle=True, seed=6)) != first


def test_a_million_million_samples_are_shuffled_at_once() -> None:
    loader = Loader(Endless(), batch_size=8, shuffle=True, seed=1)
    assert len(loader) == 10**12 // 8
    seen = [batch.tolist() for batch in islice(loader, 3)]
    state = loader.state_dict()
    late = {**state, "samples": 10**12 - 16}
    loader.load_state_dict(late)
    assert [batch.tolist() for batch in loader] == [
        loader.batch(0, len(loader) - 2).tolist(),
        loader.batch(0, len(loader) - 1).tolist(),
    ]
    assert len(json.dumps(state)) < 400
    assert abs(len(json.dumps(late)) - len(json.dumps(state))) < 16
    assert len({value for batch in seen for value in batch}) == 24


def test_each_iter_is_an_epoch_and_set_epoch_chooses_one() -> None:
    loader = Loader(TEN, 3, shuffle=True, seed=5)
    first, second = epoch_hashes(loader), epoch_hashes(loader)
    assert first != second
    loader.set_epoch(0)
    assert epoch_hashes(loader) == first
    with pytest.raises(stoker.ArgumentError, match="epoch must be at least 0; got -1"):
        loader.set_epoch(-1)


def test_several_iterators_of_one_loader_are_epochs_of_their_own() -> None:
    loader = Loader(TEN, 2, shuffle=True, seed=5)
    pairs = [(one[0].tolist(), other[0].tolist()) for one, other in zip(iter(loader), iter(loader), strict=True)]
    expected = [[loader.batch(epoch, step)[0].tolist() for step in range(5)] for epoch in range(2)]
    assert [list(column) for column in zip(*pairs, strict=True)] == expected


def test_a_copy_gives_the_same_batches() -> None:
    loader = Loader(TEN, 3, shuffle=True)
    assert epoch_hashes(pickle.loads(pickle.dumps(loader))) == epoch_hashes(loader)


@pytest.mark.parametrize("when", ["before StopIteration", "after StopIteration"])
def test_a_state_at_an_epoch_s_end(when: str) -> None:
    loader = Loader(TEN, 5, shuffle=True, seed=5)
    iterator = iter(loader)
    next(iterator), next(iterator)
    if when == "after StopIteration":
        assert next(iterator, None) is None
    resumed = Loader(TEN, 5, shuffle=True, seed=5)
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    counts = [len(list(resumed)), len(list(resumed))]
    assert counts == ([0, 2] if when == "before StopIteration" else [2, 2])


@pytest.mark.parametrize(
    ("epoch", "step", "text"),
    [(0, 4, r"step must be in \[0, 4\)"), (0, -1, "got step=-1"), (-1, 0, "epoch at least 0; got step=0, epoch=-1")],
)
def test_a_batch_that_there_is_not(epoch: int, step: int, text: str) -> None:
    with pytest.raises(stoker.ArgumentError, match=text):
        Loader(TEN, 3, seed=0).batch(epoch, step)


def test_leaving_a_loop_early_leaves_nothing_behind(no_leaks: Holdings) -> None:
    loader = Loader(Endless(), batch_size=4, num_workers=2, seed=0, shuffle=True)
    for _ in range(3):
        for _ in loader:
            break
    del loader


def test_stats_and_explain_speak_of_this_loader() -> None:
    loader = Loader(TEN, 4, shuffle=True, seed=0)
    list(loader)
    stats = loader.stats()
    assert (stats["batches"], stats["samples"], stats["executor"]) == (3, 10, "inline")
    text = loader.explain()
    assert "shuffled, 10 samples, 3 batches of 4" in text
    assert "one gather" in text


def test_the_epoch_can_be_chosen_by_the_sampler_as_with_torch() -> None:
    loader = Loader(TEN, 3, shuffle=True, seed=5)
    epochs = [epoch_hashes(loader) for _ in range(3)]
    for epoch in (0, 2, 2, 1):
        loader.sampler.set_epoch(epoch)
        assert epoch_hashes(loader) == epochs[epoch]
    iterator = iter(loader)  # of epoch 2, and nothing is asked of it yet
    loader.sampler.set_epoch(0)
    assert [batch_hash(batch) for batch in iterator] == epochs[0]
    assert epoch_hashes(loader) == epochs[1]


def test_a_sampler_s_epoch_does_not_disturb_one_that_is_running() -> None:
    loader = Loader(TEN, 3, shuffle=True, seed=5)
    first, second = epoch_hashes(loader), epoch_hashes(loader)
    loader.set_epoch(0)
    iterator = iter(loader)
    begun = [batch_hash(next(iterator))]
    loader.sampler.set_epoch(0)
    assert loader.state_dict()["samples"] == 3
    assert begun + [batch_hash(batch) for batch in iterator] == first
    assert epoch_hashes(loader) == first
    assert epoch_hashes(loader) == second


@pytest.mark.parametrize("chooses", [Loader.set_epoch, lambda loader, epoch: loader.sampler.set_epoch(epoch)])
def test_a_place_that_was_loaded_survives_the_choice_of_its_epoch(chooses: Callable[[Loader, int], None]) -> None:
    loader = Loader(TEN, 3, shuffle=True, seed=5)
    epoch_hashes(loader)
    wanted = [batch_hash(batch) for batch in loader][1:]
    loader.set_epoch(1)
    next(iter(loader))
    resumed = pickle.loads(pickle.dumps(Loader(TEN, 3, shuffle=True, seed=5)))
    resumed.load_state_dict(loader.state_dict())
    chooses(resumed, 1)
    assert epoch_hashes(resumed) == wanted
    chooses(resumed, 1)  # chosen again, it begins anew
    assert epoch_hashes(resumed)[1:] == wanted


def test_a_state_of_an_epoch_s_end_goes_on_with_the_epoch_that_is_chosen() -> None:
    loader = Loader(TEN, 5, shuffle=True, seed=5)
    next(iterator := iter(loader)), next(iterator)
    resumed = Loader(TEN, 5, shuffle=True, seed=5)
    resumed.load_state_dict(loader.state_dict())
    iterator = iter(resumed)
    resumed.sampler.set_epoch(1)
    assert [batch_hash(batch) for batch in iterator] == epoch_hashes(loader)


def test_a_loader_made_before_the_ranks_shows_their_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(TEN, 3, shuffle=True, seed=5)
    whole = loader.batch(0, 0)[0].tolist()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert isinstance(loader.sampler, DistributedSampler)
    assert loader.batch_sampler.sampler is loader.sampler
    assert [batch[0].tolist() for batch in loader] == [TEN.tensors[0][rows].tolist() for rows in loader.batch_sampler]
    assert not set(loader.batch(0, 0)[0].tolist()) & set(whole)
    epoch_one = [batch[0].tolist() for batch in loader]
    loader.sampler.set_epoch(1)
    assert [batch[0].tolist() for batch in loader] == epoch_one
    with pytest.raises(stoker.ArgumentError, match="one rank of 2 already, and Accelerate would split them once more"):
        getattr(loader, "_is_accelerate_prepared")  # noqa: B009


def test_its_arguments_can_be_had_by_name() -> None:
    assert vars(Loader(TEN, seed=5))["seed"] == 5  # from there Lightning takes what it builds a loader from
