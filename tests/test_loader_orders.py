"""Loader(order=..., virtual_epoch=...): what a user writes, sees and is told."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DistributedSampler, TensorDataset

from stoker import Loader, order
from stoker.errors import ArgumentError, StateError
from stoker.testing import assert_resumes_at_every_batch

DATA = TensorDataset(torch.arange(60))
LABELS = np.repeat(["cat", "dog", "eel"], [40, 15, 5])
LENGTHS = 1 + np.arange(60) * 11 % 17


def indices(loader: Loader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def balanced(length: int, seed: int) -> order.Order:
    assert length == 60
    return order.ClassBalancedOrder(LABELS, seed=seed)


def budget(length: int, seed: int) -> order.TokenBudgetOrder:
    return order.TokenBudgetOrder(order.ShuffledOrder(length, seed), LENGTHS, 60, seed=seed, micro_batches=4)


def test_an_order_decides() -> None:
    weighted = order.WeightedOrder(1.0 + np.arange(60), seed=3)
    loader = Loader(DATA, batch_size=7, order=weighted, seed=0)
    for epoch in range(2):
        assert flat(indices(loader)) == weighted.indices(epoch, 0, 60).tolist()
    assert len(loader) == 9
    assert isinstance(loader.sampler, torch.utils.data.Sampler)
    assert list(loader.sampler) == weighted.indices(0, 0, 60).tolist()


def test_a_recipe_lets_the_loader_s_seed_decide() -> None:
    first, same, other = (indices(Loader(DATA, batch_size=6, order=balanced, seed=seed)) for seed in (1, 1, 2))
    assert first == same != other
    unseeded = Loader(DATA, batch_size=6, order=balanced)
    epoch = indices(unseeded)
    state = unseeded.state_dict()
    resumed = Loader(DATA, batch_size=6, order=balanced)
    resumed.load_state_dict({**state, "epoch": 0, "samples": 0})
    assert indices(resumed) == epoch, "the seed of the state, and with it its order"


def test_it_pickles_with_its_order() -> None:
    loader = Loader(DATA, batch_size=6, order=weighted_part(), seed=1)
    assert indices(pickle.loads(pickle.dumps(loader))) == indices(loader)


def weighted_part() -> order.WeightedOrder:
    return order.WeightedOrder(np.arange(60), seed=1, over=order.SubsetOrder(np.arange(10, 50)))


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("recipe", [balanced, budget])
def test_resumed_at_every_batch_by_other_workers(recipe: Any) -> None:
    batch = {} if recipe is budget else {"batch_size": 9}

    def make(workers: int, executor: str) -> Loader:
        return Loader(DATA, order=recipe, seed=4, num_workers=workers, executor=executor, **batch)

    resumers = [lambda: make(3, "thread"), lambda: make(0, "inline"), lambda: make(1, "thread")]
    assert_resumes_at_every_batch(lambda: make(0, "inline"), resumers, epochs=1)
    with_processes = make(2, "process")
    undisturbed, state = make(0, "inline"), None
    batches = iter(undisturbed)
    next(batches)
    state = undisturbed.state_dict()
    with_processes.load_state_dict(state)
    assert indices(with_processes) == [batch[0].tolist() for batch in batches]


def test_batches_of_varying_size() -> None:
    loader = Loader(DATA, order=budget, seed=4)
    sizes = []
    for _ in range(3):
        batches = indices(loader)
        assert Counter(flat(batches)) == Counter(range(60))
        assert len(batches) % 4 == 0
        assert all(len(batch) * LENGTHS[batch].max() <= 60 for batch in batches)
        sizes.append([len(batch) for batch in batches])
    assert len(set(sizes[0])) > 1
    assert sizes[0] != sizes[1]
    assert "batches of varying size in epoch 3, 4 over all ranks per step" in loader.explain()


def test_too_few_samples_for_a_step_are_padded_or_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    data, taken = TensorDataset(torch.arange(6)), {}
    for tail in ("pad", "drop"):
        taken[tail] = []
        for rank in range(4):
            monkeypatch.setenv("RANK", str(rank))
            few = order.TokenBudgetOrder(6, [5] * 6, 5, seed=1, micro_batches=4)
            loader = Loader(data, order=few, seed=1, tail=tail)
            taken[tail].append([(batch[0].tolist(), loader.valid.tolist()) for batch in loader])
    assert [len(share) for share in taken["pad"]] == [2] * 4
    assert [len(share) for share in taken["drop"]] == [1] * 4
    valid = [batch for share in taken["pad"] for batch, is_valid in share if is_valid == [True]]
    assert sorted(flat(valid)) == list(range(6))


def test_ranks_must_divide_the_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(
        ArgumentError, match=r"number of ranks has to divide micro_batches.*got 3 ranks and micro_batches=4"
    ):
        Loader(DATA, order=budget, seed=4)


def test_several_ranks_have_a_distributed_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert isinstance(Loader(DATA, batch_size=3, order=balanced, seed=1).sampler, DistributedSampler)


# Endless streams


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_virtual_epochs_are_pieces_of_an_endless_stream(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    shares = []
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    for rank in range(world_size):
        monkeypatch.setenv("RANK", str(rank))
        loader = Loader(DATA, batch_size=8 // world_size, shuffle=True, virtual_epoch=4, seed=2)
        assert len(loader) == 4
        shares.append([batch for _ in range(15) for batch in indices(loader)])
    stream = [index for step in zip(*shares, strict=True) for batch in step for index in batch]
    assert len(stream) == 15 * 4 * 8 == 8 * 60
    passes = np.array(stream).reshape(8, 60)
    assert (np.sort(passes, axis=1) == np.arange(60)).all(), "every sample once in each pass, over all ranks"
    assert len({tuple(one) for one in passes.tolist()}) == 8, "shuffled anew in each"
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    alone = Loader(DATA, batch_size=8, shuffle=True, virtual_epoch=4, seed=2)
    assert stream[:64] == flat(indices(alone) + indices(alone))


@pytest.mark.parametrize("arguments", [
    {"shuffle": True, "batch_size": 7}, {"batch_size": 7}, {"order": balanced, "batch_size": 7}, {"order": budget},
])  # fmt: skip
def test_endless_streams_resume_at_every_batch(arguments: dict[str, Any]) -> None:
    assert_resumes_at_every_batch(lambda: Loader(DATA, virtual_epoch=3, seed=5, **arguments), epochs=4)


def test_an_endless_stream_of_budgets_leaves_nothing_out() -> None:
    loader = Loader(DATA, order=budget, virtual_epoch=1, seed=5)
    batches: list[list[int]] = []
    while len(batches) < 60:
        batches += indices(loader)
    count, passes = Counter(flat(batches)), budget(60, 5)
    first, second = passes.num_batches(0), passes.num_batches(1)
    assert Counter(flat(batches[first : first + second])) == Counter(range(60))
    assert max(count.values()) - min(count.values()) <= 1


# What it says


def test_explain_tells_the_expected_counts() -> None:
    explained = Loader(DATA, batch_size=5, order=order.StratifiedOrder(LABELS, 5, seed=1), seed=0).explain()
    assert "stratified, 60 samples, 12 batches of 5" in explained
    assert "eel: 12 per epoch" in explained
    mixture = order.MixtureOrder([20, 40], seed=1, weights=[1, 3], names=["web", "books"])
    assert "expected    web: 15, books: 45 per epoch" in Loader(DATA, order=mixture, seed=0).explain()
    weighted = order.WeightedOrder(np.ones(60), seed=1, labels=LABELS)
    assert "cat: 20, dog: 7.5, eel: 2.5" in Loader(DATA, order=weighted, virtual_epoch=30, seed=0).explain()
    assert "expected" not in Loader(DATA, shuffle=True, seed=0).explain()
    many = order.ClassBalancedOrder(np.arange(60), seed=0)
    assert "and 40 more per epoch" in Loader(DATA, order=many, seed=0).explain()


def test_explain_draws_no_seed() -> None:
    before = torch.get_rng_state()
    Loader(DATA, shuffle=True, virtual_epoch=3).explain()
    assert torch.equal(before, torch.get_rng_state())


def test_a_skipped_sample_of_an_order_is_left_out() -> None:
    class Broken(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> int:
            if index == 41:
                raise ValueError("broken")
            return index

    some = order.SubsetOrder([40, 41, 42, 43])
    batches = [batch.tolist() for batch in Loader(Broken(), batch_size=2, order=some, seed=0, on_error="skip")]
    assert batches == [[40], [42, 43]], "no sample from outside of the subset takes its place"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"order": balanced, "shuffle": True}, "order takes the place of shuffle; got shuffle=True too"),
        ({"order": balanced, "sampler": [1, 2]}, "order and virtual_epoch need .* no sampler or batch_sampler"),
        ({"virtual_epoch": 3, "batch_sampler": [[1]]}, "order and virtual_epoch need .* no sampler or batch_sampler"),
        ({"virtual_epoch": 0}, "virtual_epoch must be at least 1, or None; got 0"),
        ({"order": [3, 1]}, "order must be an order .* or a function of .length, seed.* got list"),
        (
            {"order": budget, "batch_size": 4},
            "this order makes its own batches; leave batch_size out. Got batch_size=4",
        ),
        ({"order": order.WeightedOrder([1, 2], seed=0)}, "the order chooses from 2 samples, and the dataset has 60"),
        (
            {"order": order.PKOrder(LABELS, 2, 2, seed=0), "batch_size": 6},
            "batch_size must be a multiple of 4, the rows of the order that belong together; got 6",
        ),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Loader(DATA, seed=0, **arguments)


def test_a_state_of_another_order_is_refused() -> None:
    state = json.loads(json.dumps(Loader(DATA, order=order.WeightedOrder(np.ones(60), seed=1), seed=0).state_dict()))
    with pytest.raises(StateError, match=r"taken in another weighted order: it had \{'weights': .* this loader's has"):
        Loader(DATA, order=order.WeightedOrder(np.arange(60), seed=1), seed=0).load_state_dict(state)
    with pytest.raises(StateError, match="taken in weighted order, and this loader's order is shuffled"):
        Loader(DATA, shuffle=True, seed=0).load_state_dict(state)


def test_a_state_in_the_middle_of_a_step_needs_ranks_that_divide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(DATA, order=budget, seed=4)
    next(iter(loader))
    state = loader.state_dict()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(StateError, match="after 1 micro-batches, which is no multiple of the number of ranks, 2"):
        Loader(DATA, order=budget, seed=4).load_state_dict(state)


def test_states_stay_small() -> None:
    nested = order.EndlessOrder(order.RepeatOrder(order.WeightedOrder(np.ones(60), seed=1), 3), 10**12)
    assert len(json.dumps(Loader(DATA, order=nested, seed=0).state_dict())) < 700
