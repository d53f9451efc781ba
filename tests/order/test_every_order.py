"""What every order, and every composition of two, has to keep: purity, blocks, resume at any batch, any number of ranks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stoker import Loader
from stoker.engine.batch_plan import BatchPlan
from stoker.engine.order_source import LateBatches, LateOrder, OrderSource
from stoker.engine.plan import OrderPlan
from stoker.engine.progress import Progress
from stoker.engine.ranks import SharedSeed
from stoker.engine.resume import describe_state, read_state
from stoker.order import BatchOrder, Order, Split, as_sampler
from tests.order.a_set_of_orders import BATCH, NUM_SAMPLES, Make, every_order

ORDERS = every_order()
LOADED = [name for number, name in enumerate(ORDERS) if "over" not in name or number % 16 == 0]
"""Those that are put into loaders too: making some thousand of these takes longer than CI has."""
SEED = 3


class Samples(torch.utils.data.Dataset[int]):
    """Gives the index itself; its length is what the order chooses from."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("name", ORDERS)
def test_it_is_a_pure_function_of_epoch_and_position(name: str) -> None:
    order, again = ORDERS[name](), ORDERS[name]()
    assert order.describe() == again.describe() == json.loads(json.dumps(order.describe()))
    epochs = [order.indices(epoch, 0, len(order)) for epoch in range(3)]
    assert all(epoch.dtype == np.int64 and epoch.shape == (len(order),) for epoch in epochs)
    for epoch in (2, 0, 1):  # in another order, in pieces, from an order that has seen nothing before
        cuts = [*range(0, len(order), 7), len(order)]
        pieces = [again.indices(epoch, start, stop) for start, stop in pairwise(cuts)]
        assert np.concatenate(pieces).tolist() == epochs[epoch].tolist()
    assert order.indices(1, 4, 4).tolist() == []
    anyhow = np.random.default_rng(0).permutation(len(order)).astype(np.int64)
    assert order.at(1, anyhow).tolist() == epochs[1][anyhow].tolist()  # type: ignore[attr-defined]


def domain(order: Order) -> int:
    return getattr(order, "domain", None) or NUM_SAMPLES


def batch_size(order: Order, world_size: int) -> int:
    return max(BATCH // world_size, getattr(order, "group_size", 1))


def world_sizes(make: Make) -> list[int]:
    """One alone for a stratified order: a rank's batch holds whole groups, so that more ranks are another global batch."""
    return [1] if getattr(make(), "group_size", 1) > 1 else [4, 2, 1]


def loader(make: Make, world_size: int, rank: int, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Loader:
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    monkeypatch.setenv("RANK", str(rank))
    order = make()
    batch = {} if isinstance(order, BatchOrder) else {"batch_size": batch_size(order, world_size)}
    return Loader(Samples(domain(order)), order=order, seed=SEED, **batch, **arguments)


def lists(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def steps(make: Make, world_size: int, monkeypatch: pytest.MonkeyPatch, state: str | None) -> list[list[int]]:
    """What is left of an epoch: the samples of all ranks at each step, without those that only repeat another rank's."""
    shares = []
    for rank in range(world_size):
        one = loader(make, world_size, rank, monkeypatch)
        if state is not None:
            one.load_state_dict(json.loads(state))
        shares.append([batch.tolist() if one.valid.all() else [] for batch in one])
    assert len({len(share) for share in shares}) == 1, "every rank takes the same number of steps"
    return [[index for share in shares for index in share[step]] for step in range(len(shares[0]))]


def plan(make: Make, world_size: int, rank: int) -> OrderPlan | BatchPlan:
    """As Loader makes it."""
    source = OrderSource(make(), domain(make()), SharedSeed(SEED, None), shuffled=False)
    if source.makes_batches:
        return BatchPlan(LateBatches(source), rank, world_size, "pad")
    order = LateOrder(source)
    return OrderPlan(order, Split(len(order), batch_size(make(), world_size), rank, world_size))


@pytest.mark.parametrize("name", ORDERS)
def test_resumed_at_every_batch_by_other_ranks(name: str) -> None:
    epochs = 1 if " over " in name else 2
    make, sizes = ORDERS[name], world_sizes(ORDERS[name])
    dataset = {"length": domain(make())}
    plans = {size: [plan(make, size, rank) for rank in range(size)] for size in sizes}
    flat = planned(plans[1], Progress(0), epochs)
    for size in sizes:
        assert planned(plans[size], Progress(0), epochs) == flat, "at one global batch, ranks change nothing"
    taken_by = plans[sizes[0]]
    seen = 0
    for epoch in range(epochs):
        for step in range(taken_by[0].num_steps(epoch) + 1):
            resumed_by = plans[sizes[step % len(sizes)]]
            state = json.loads(json.dumps(describe_state(taken_by[-1], SEED, Progress(epoch, step), dataset)))
            progress = read_state(state, resumed_by[0], None, dataset).progress
            assert planned(resumed_by, progress, epochs) == flat[seen:], f"after {step} batches of epoch {epoch}"
            seen += len(merged(taken_by, epoch, step, step + 1))


def merged(plans: Sequence[OrderPlan | BatchPlan], epoch: int, start: int, stop: int) -> list[int]:
    """The samples that all ranks together take in these steps, without those that only repeat another rank's."""
    shares = [list(islice(plan.specs(epoch, start), max(0, stop - start))) for plan in plans]
    assert len({len(share) for share in shares}) == 1, "every rank takes the same number of steps"
    return [
        index for step in zip(*shares, strict=True) for spec in step if spec.valid for index in spec.indices.tolist()
    ]  # type: ignore[union-attr]


def planned(plans: Sequence[OrderPlan | BatchPlan], progress: Progress, epochs: int) -> list[int]:
    """All that is left of these epochs."""
    starts = [(epoch, progress.step if epoch == progress.epoch else 0) for epoch in range(progress.epoch, epochs)]
    return [index for epoch, step in starts for index in merged(plans, epoch, step, 1000)]


@pytest.mark.parametrize("name", LOADED)
def test_loaders_resume_at_every_batch_with_other_ranks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, sizes = ORDERS[name], world_sizes(ORDERS[name])
    taken = steps(make, sizes[0], monkeypatch, None)
    flat = [index for step in taken for index in step]
    for number, state in enumerate(states(make, sizes[0], monkeypatch), 1):
        resumed_by = sizes[number % len(sizes)]
        rest = [index for step in steps(make, resumed_by, monkeypatch, state) for index in step]
        assert rest == flat[sum(map(len, taken[:number])) :], (
            f"after {number} batches, {sizes[0]} to {resumed_by} ranks"
        )


def states(make: Make, world_size: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    last_rank = loader(make, world_size, world_size - 1, monkeypatch)
    return [json.dumps(last_rank.state_dict()) for _ in last_rank]


@pytest.mark.parametrize("name", LOADED)
def test_resumed_under_other_workers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = lists(loader(ORDERS[name], 1, 0, monkeypatch))
    state: dict[str, Any] | None = None
    seen: list[list[int]] = []
    for workers in (0, 3, 1):
        executor = "thread" if workers else "inline"
        part = loader(ORDERS[name], 1, 0, monkeypatch, num_workers=workers, executor=executor)
        if state is not None:
            part.load_state_dict(json.loads(json.dumps(state)))
        batches = iter(part)
        seen.append(next(batches).tolist())
        state = part.state_dict()
        rest = lists(batches)
        assert seen + rest == expected


def test_a_step_of_micro_batches_is_the_same_for_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    make = ORDERS["budget over shuffled"]
    by_ranks = {}
    for world_size in (4, 2, 1):
        taken = steps(make, world_size, monkeypatch, None)
        per_step = 4 // world_size
        by_ranks[world_size] = [
            Counter(index for part in taken[first : first + per_step] for index in part)
            for first in range(0, len(taken), per_step)
        ]
    assert by_ranks[4] == by_ranks[2] == by_ranks[1]
    assert sum(by_ranks[1], Counter()) == Counter(range(NUM_SAMPLES))


@pytest.mark.parametrize("name", list(ORDERS)[::3])
def test_it_is_a_sampler_of_a_stock_dataloader(name: str) -> None:
    order = ORDERS[name]()
    sampler = as_sampler(order, 4)
    sampler.set_epoch(1)  # type: ignore[attr-defined]
    if isinstance(order, BatchOrder):
        stock: Any = DataLoader(Samples(99), batch_sampler=sampler)
        assert lists(stock) == [order.batch(1, number).tolist() for number in range(order.num_batches(1))]
    else:
        stock = DataLoader(Samples(99), batch_size=4, sampler=sampler)
        assert [index for batch in lists(stock) for index in batch] == order.indices(1, 0, len(order)).tolist()
    assert len(stock) == len(lists(stock))


@pytest.mark.parametrize("name", ["weighted", "stratified", "budget", "mixture over shuffled"])
def test_ranks_share_a_sampler(name: str) -> None:
    order: Order = ORDERS[name]()
    shares = [list(as_sampler(order, 8, rank=rank, world_size=2)) for rank in range(2)]
    flat = [index for share in shares for item in share for index in (item if isinstance(item, list) else [item])]
    assert Counter(flat) == Counter(order.indices(0, 0, len(order)).tolist())
