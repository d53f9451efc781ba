"""The orders as torch Samplers: for loaders that other libraries take apart and build again from their attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DistributedSampler, RandomSampler, Sampler, SequentialSampler

from stoker.order.orders import Order
from stoker.order.split import Split

_BLOCK_STEPS = 1024  # steps whose positions are asked of the order at once, where one rank takes all


class _OrderSampler:
    """Yields this rank's samples of `epoch`, step by step, as ints."""

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


class OrderSequentialSampler(_OrderSampler, SequentialSampler):
    """Stoker's sequential order as a SequentialSampler."""


class OrderRandomSampler(_OrderSampler, RandomSampler):
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


class OrderDistributedSampler(_OrderSampler, DistributedSampler):  # type: ignore[type-arg]
    """Either order as a DistributedSampler: this rank's share."""

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


def order_sampler(data_source: Any, order: Order, split: Split, shuffle: bool) -> Sampler[int]:
    """The sampler that a loader of `order` shows: Distributed with several ranks, else Random or Sequential."""
    if split.world_size > 1:
        return OrderDistributedSampler(data_source, order, split, shuffle=shuffle)
    return (
        OrderRandomSampler(data_source, order, split) if shuffle else OrderSequentialSampler(data_source, order, split)
    )
