"""The orders as torch Samplers: for loaders that other libraries take apart and build again from their attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DistributedSampler, RandomSampler, Sampler, SequentialSampler

from stoker.order.batch_split import BatchSplit
from stoker.order.orders import Order
from stoker.order.split import Split
from stoker.order.token_budget import BatchOrder

_BLOCK_STEPS = 1024  # steps whose positions are asked of the order at once, where one rank takes all


class OrderSampler(Sampler[int]):
    """Any order as a Sampler: yields this rank's samples of `epoch`, step by step, as ints."""

    def __init__(self, data_source: Any, order: Order, split: Split) -> None:
        # Without the constructors of torch's samplers, which draw seeds and cut the dataset themselves.
        self.data_source = data_source
        self.order = order
        self.split = split
        self.epoch = 0
        self.on_set_epoch: Callable[[], Callable[[int], None] | None] | None = None  # a weak reference

    def __iter__(self) -> Iterator[int]:
        split = self.split
        block = _BLOCK_STEPS if split.world_size == 1 else 1
        for step in range(0, split.num_steps, block):
            first, last = split.rows(step), split.rows(min(step + block, split.num_steps) - 1)
            yield from self.order.indices(self.epoch, first.start, last.stop).tolist()

    def __len__(self) -> int:
        return self.split.num_rows

    def set_epoch(self, epoch: int) -> None:
        """The next iteration yields the order of `epoch`; so does that of the loader which shows this sampler."""
        self.epoch = epoch
        follow = None if self.on_set_epoch is None else self.on_set_epoch()
        if follow is not None:
            follow(epoch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "on_set_epoch": None}  # a copy is nobody's


class OrderSequentialSampler(OrderSampler, SequentialSampler):
    """Stoker's sequential order as a SequentialSampler."""


class OrderRandomSampler(OrderSampler, RandomSampler):
    """Stoker's shuffled order as a RandomSampler."""

    def __init__(self, data_source: Any, order: Order, split: Split) -> None:
        super().__init__(data_source, order, split)
        self.replacement = False
        self._num_samples = None
        self.generator = None

    @property
    def num_samples(self) -> int:
        """Samples per epoch."""
        return len(self)


class OrderDistributedSampler(OrderSampler, DistributedSampler):  # type: ignore[type-arg]
    """Any order as a DistributedSampler: this rank's share."""

    def __init__(self, data_source: Any, order: Order, split: Split, *, shuffle: bool) -> None:
        super().__init__(data_source, order, split)
        self.dataset = data_source
        self.num_replicas = split.world_size
        self.rank = split.rank
        self.shuffle = shuffle
        self.seed = 0  # the order has its own
        self.drop_last = split.drop_last
        self.num_samples = split.num_rows
        self.total_size = split.num_rows * split.world_size


class OrderBatchSampler(Sampler[list[int]]):
    """Yields this rank's batches of `epoch`, of an order that makes its own, as lists of ints."""

    def __init__(self, order: BatchOrder, rank: int = 0, world_size: int = 1, tail: str = "pad") -> None:
        self.order = order
        self.rank = rank
        self.world_size = world_size
        self.tail = tail
        self.epoch = 0
        BatchSplit(0, order.micro_batches, rank, world_size, tail)  # says at once what cannot be dealt

    def _split(self) -> BatchSplit:
        order = self.order
        return BatchSplit(order.num_batches(self.epoch), order.micro_batches, self.rank, self.world_size, self.tail)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, split = self.epoch, self._split()
        for step in range(split.num_steps):
            yield self.order.batch(epoch, split.number(step)[0]).tolist()

    def __len__(self) -> int:
        return self._split().num_steps

    def set_epoch(self, epoch: int) -> None:
        """The next iteration yields the batches of `epoch`."""
        self.epoch = epoch


def order_sampler(data_source: Any, order: Order, split: Split, shuffle: bool | None) -> OrderSampler:
    """The sampler that a loader of `order` shows: Distributed with several ranks, else Random or Sequential, or neither for None."""
    if split.world_size > 1:
        return OrderDistributedSampler(data_source, order, split, shuffle=shuffle is not False)
    if shuffle is None:
        return OrderSampler(data_source, order, split)
    return (
        OrderRandomSampler(data_source, order, split) if shuffle else OrderSequentialSampler(data_source, order, split)
    )


def as_sampler(
    order: Order | BatchOrder, batch_size: int = 1, *, rank: int = 0, world_size: int = 1,
    drop_last: bool = False, tail: str = "pad",
) -> Sampler[Any]:  # fmt: skip
    """An order for a stock DataLoader: its ``sampler``, or its ``batch_sampler`` where the order makes batches of its own.

    Call ``set_epoch(epoch)`` before each epoch, as with a DistributedSampler.

    Args:
        order: any order.
        batch_size: the DataLoader's; what ranks take turns by. Not used by an order that makes batches of its own.
        rank: which share of the order's epoch this process takes.
        world_size: how many shares there are.
        drop_last: leave out a last global batch that is not full.
        tail: as ``stoker.Loader``'s.

    Raises:
        ArgumentError: as `Split` and `BatchSplit`.
    """
    if isinstance(order, BatchOrder):
        return OrderBatchSampler(order, rank, world_size, tail)
    return order_sampler(order, order, Split(len(order), batch_size, rank, world_size, drop_last, tail), None)
