"""Orders and the samplers that show them to torch."""

from __future__ import annotations

import time

import numpy as np
import pytest
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from stoker.errors import ArgumentError
from stoker.order import SequentialOrder, ShuffledOrder, Split
from stoker.order.samplers import order_sampler


@pytest.mark.parametrize("length", [0, 1, 1000, 70_000])
def test_an_epoch_holds_every_sample_once(length: int) -> None:
    for order in (SequentialOrder(length), ShuffledOrder(length, 3)):
        assert sorted(order.indices(2, 0, length).tolist()) == list(range(length))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first, again, other = ShuffledOrder(1000, 3), ShuffledOrder(1000, 3), ShuffledOrder(1000, 4)
    epochs = [first.indices(epoch, 0, 1000).tolist() for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] == again.indices(0, 0, 1000).tolist()
    assert epochs[0] != epochs[1]
    assert epochs[0] != other.indices(0, 0, 1000).tolist()


def test_blocks_are_parts_of_the_epoch() -> None:
    order = ShuffledOrder(100_000, 3)
    whole = order.indices(1, 0, 100_000)
    assert np.array_equal(
        np.concatenate([order.indices(1, start, start + 1000) for start in range(0, 100_000, 1000)]), whole
    )


def test_a_million_million_samples_start_at_once() -> None:
    started = time.process_time()
    order = ShuffledOrder(10**12, 3)
    assert len(set(order.indices(5, 10**12 - 64, 10**12).tolist())) == 64
    assert time.process_time() - started < 1  # a table would take hours; this takes a millisecond


@pytest.mark.parametrize("bounds", [(-1, 2), (3, 2), (0, 11)])
def test_positions_out_of_range_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match=r"0 <= start <= stop <= 10; got start="):
        ShuffledOrder(10, 0).indices(0, *bounds)


@pytest.mark.parametrize(
    ("shuffle", "world_size", "kind"),
    [(False, 1, SequentialSampler), (True, 1, RandomSampler), (True, 3, DistributedSampler)],
)
def test_samplers_are_torch_s_own_kinds(shuffle: bool, world_size: int, kind: type) -> None:
    order = ShuffledOrder(20, 1) if shuffle else SequentialOrder(20)
    sampler = order_sampler(list(range(20)), order, Split(20, 2, world_size=world_size), shuffle)
    assert isinstance(sampler, kind)
    assert len(list(sampler)) == len(sampler)


def test_a_sampler_yields_the_order_in_a_stock_dataloader() -> None:
    order = ShuffledOrder(20, 1)
    sampler = order_sampler(range(20), order, Split(20, 4), True)
    for epoch in range(2):
        sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = [batch.tolist() for batch in DataLoader(range(20), batch_size=4, sampler=sampler)]  # type: ignore[arg-type]
        assert [index for batch in batches for index in batch] == order.indices(epoch, 0, 20).tolist()


def test_ranks_together_have_every_sample() -> None:
    order = ShuffledOrder(23, 1)
    shares = [list(order_sampler(range(23), order, Split(23, 2, rank=rank, world_size=3), True)) for rank in range(3)]
    assert sorted(index for share in shares for index in share) == list(range(23))
