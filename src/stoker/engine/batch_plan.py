"""The plan of an order that makes its own batches, of varying size: global micro-batches, dealt to the ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stoker.engine.order_source import LateBatches
from stoker.engine.plan import ROWS_PER_STEP
from stoker.engine.protocol import BatchSpec
from stoker.order.batch_split import BatchSplit


@dataclass(frozen=True)
class BatchPlan:
    """Micro-batches of a `BatchOrder`. Pure: any batch can be had at any time. What a state counts is micro-batches.

    Raises:
        ArgumentError: the number of ranks does not divide the order's `micro_batches`.
    """

    order: LateBatches
    rank: int
    world_size: int
    tail: str

    def __post_init__(self) -> None:
        BatchSplit(0, self.order.micro_batches, self.rank, self.world_size, self.tail)

    def split(self, epoch: int) -> BatchSplit:
        """Who takes which micro-batch of `epoch`."""
        order = self.order
        return BatchSplit(order.num_batches(epoch), order.micro_batches, self.rank, self.world_size, self.tail)

    @property
    def global_batch_size(self) -> int:
        """Micro-batches that one batch of each rank takes, over all ranks."""
        return self.world_size

    def num_steps(self, epoch: int = 0) -> int:
        return self.split(epoch).num_steps

    def rows_per_batch(self, epoch: int) -> int:
        """Rows of the epoch's first batch."""
        return len(self.order.batch(epoch, 0)) if self.order.num_batches(epoch) else 1

    def specs(self, epoch: int, step: int) -> Iterator[BatchSpec]:
        """A row's key hangs on its micro-batch's number and its place in it, and so not on the number of ranks."""
        split = self.split(epoch)
        for current in range(step, split.num_steps):
            number, valid = split.number(current)
            position = (current * self.world_size + self.rank) * ROWS_PER_STEP
            yield BatchSpec(epoch, current, position, self.order.batch(epoch, number), valid=valid)

    def consumed(self, epoch: int, step: int) -> int:
        """Micro-batches of `epoch` that are consumed before `step`, over all ranks."""
        return step * self.world_size

    def step_of(self, epoch: int, consumed: int) -> int:
        """The inverse of `consumed`. Raises StateError where the number of ranks does not divide it."""
        return self.split(epoch).step_of(consumed)

    def describe(self, epoch: int) -> str:
        """The order and its batches in words."""
        ranks = f", rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return (
            f"{self.order.name}, {self.num_steps(epoch):,} batches of varying size in epoch {epoch}, "
            f"{self.order.micro_batches} over all ranks per step{ranks}"
        )
