"""Gradient accumulation: several micro-batches for each step of the optimiser, with the gradients of one large batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from stoker.errors import ArgumentError
from stoker.loader import Loader
from stoker.train.rows import count_rows


@dataclass(frozen=True)
class MicroBatch:
    """One batch of the loader, and what the loop has to know of it.

    Attributes:
        batch: as the loader gave it.
        scale: what its mean loss is to be multiplied by before ``backward()``. The scales of a group add up to 1.
        should_step: it is the last one of its group: step the optimiser after it.
    """

    batch: Any
    scale: float
    should_step: bool
    _no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext

    def context(self) -> AbstractContextManager[Any]:
        """Run forward and backward inside: the model's ``no_sync()`` for all but the last of a group."""
        return nullcontext() if self.should_step else self._no_sync()


def accumulate(
    loader: Iterable[Any],
    steps: int,
    model: torch.nn.Module | None = None,
    *,
    weight: Callable[[Any], float] = count_rows,
) -> Iterator[MicroBatch]:
    """The batches of `loader` in groups of `steps`, of which each is worth one step of the optimiser.

    ::

        for micro in stoker.train.accumulate(loader, 4, model):
            with micro.context():
                loss = loss_of(model, micro.batch) * micro.scale
                loss.backward()
            if micro.should_step:
                optimizer.step()
                optimizer.zero_grad()

    The sum of a group's gradients is that of one batch of all its samples, also where the last group of an epoch has fewer
    micro-batches or the last batch fewer rows: a micro-batch's scale is its share of the group's weight.

    A group is read as a whole before its first micro-batch is handed out. So ``loader.state_dict()`` is right where a
    checkpoint belongs, after the optimiser's step, and `steps` batches are held at a time.

    Args:
        loader: any iterable of batches.
        steps: micro-batches to a group; at least 1.
        model: its ``no_sync()`` is used where it has one (DistributedDataParallel, FullyShardedDataParallel), so that the
            ranks exchange gradients once per group. All ranks must have the same number of batches; `stoker.Loader` sees to it.
        weight: what a batch counts for: its rows. Where the loss is a mean over something else, tokens for instance, count that.

    Raises:
        ArgumentError: `steps` is less than 1, or the weights of a group are not positive together.
    """
    if steps < 1:
        raise ArgumentError(f"steps must be at least 1; got {steps}.")
    groups = _groups(iter(loader), steps, _num_left(loader))
    return _micro_batches(groups, getattr(model, "no_sync", nullcontext), weight)


def _num_left(loader: Any) -> int:
    """How many batches the loader's next iterator gives; too many, or 0, where it does not say."""
    try:
        length = len(loader)
    except TypeError:
        return 0
    return length - loader._next.step if isinstance(loader, Loader) else length


def _groups(batches: Iterator[Any], steps: int, num_left: int) -> Iterator[list[Any]]:
    """Lists of `steps` batches, at the end of fewer.

    A loader is not asked for more than it has before its last group is handed out: its state would be that of the next epoch.
    """
    while group := list(islice(batches, min(steps, num_left) if num_left > 0 else steps)):
        num_left -= len(group)
        yield group


def _micro_batches(
    groups: Iterator[list[Any]],
    no_sync: Callable[[], AbstractContextManager[Any]],
    weight: Callable[[Any], float],
) -> Iterator[MicroBatch]:
    for group in groups:
        weights = [weight(batch) for batch in group]
        total = sum(weights)
        if not total > 0:
            raise ArgumentError(f"the weights of a group must add up to more than 0; got {weights}.")
        last = len(group) - 1
        for number, share in enumerate(weights):
            batch, group[number] = group[number], None  # a batch that the loop is done with is not kept
            yield MicroBatch(batch, share / total, number == last, no_sync)
            del batch
