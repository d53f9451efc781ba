"""Plans: which batches there are. A plan turns an order, or a user's own sampler, into a stream of `BatchSpec`s."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from stoker.engine.order_source import LateOrder
from stoker.engine.progress import Progress
from stoker.engine.protocol import BatchSpec
from stoker.engine.seeding import seed_worker
from stoker.engine.stream import StreamProgress
from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.split import Split

_BLOCK = 65_536  # positions asked of the order at once
_FIRST_BLOCK = 1_024  # so that the first batch does not wait for a whole block
ROWS_PER_STEP = 1 << 20
"""Positions that a batch takes up where its size varies: a user's sampler's is not known before it is drawn."""
_RANK_STRIDE = 1 << 50  # keeps the keys of ranks apart where each has a sampler of its own
_SAMPLER_DOMAIN = 0x5A4D504C


class Plan(Protocol):
    """The batches of each epoch, for this rank."""

    def specs(self, epoch: int, step: int) -> Iterator[BatchSpec]:
        """The batches of `epoch` from `step` on, in order."""

    def num_steps(self, epoch: int = 0) -> int | None:
        """Batches of `epoch`; None where nobody knows."""


class OrderPlan:
    """Batches of an order of Stoker's, split over ranks. Pure: any batch can be had at any time."""

    def __init__(self, order: LateOrder, split: Split) -> None:
        self.order = order
        self.split = split
        self.global_batch_size = split.global_batch_size

    def num_steps(self, epoch: int = 0) -> int:
        return self.split.num_steps

    def rows_per_batch(self, epoch: int) -> int:
        """Rows of a usual batch."""
        return self.split.batch_size

    def consumed(self, epoch: int, step: int) -> int:
        """How much of `epoch` is consumed before `step`, over all ranks, for the state."""
        return min(step * self.global_batch_size, self.split.length)

    def step_of(self, epoch: int, consumed: int) -> int:
        """The inverse of `consumed`. Raises StateError where a step of this size would begin in the middle of one that was taken."""
        return self.split.step_of(consumed)

    def describe(self, epoch: int) -> str:
        """The order and its batches in words."""
        split = self.split
        ranks = f", rank {split.rank} of {split.world_size}" if split.world_size > 1 else ""
        return (
            f"{self.order.name}, {len(self.order):,} samples, {split.num_steps:,} batches of {split.batch_size}{ranks}"
        )

    def specs(self, epoch: int, step: int) -> Iterator[BatchSpec]:
        """Asks the order for large blocks of positions, and cuts them into batches by arithmetic."""
        split, last = self.split, self.split.num_steps - 1
        per_step, batch_size, offset = split.global_batch_size, split.batch_size, split.rank * split.batch_size
        ahead = max(1, _FIRST_BLOCK // per_step)
        while step < last:
            stop = min(last, step + ahead)
            first = step * per_step + offset  # one step at a time where there are many ranks: this rank's rows alone
            block = self.order.indices(epoch, first, (stop - 1) * per_step + offset + batch_size)
            for current in range(step, stop):
                start = current * per_step + offset
                yield BatchSpec(epoch, current, start, block[start - first : start - first + batch_size])
            step, ahead = stop, max(1, _BLOCK // per_step)
        if step == last:  # the only one that may be short
            rows = split.rows(step)
            yield BatchSpec(epoch, step, rows.start, self.order.indices(epoch, rows.start, rows.stop), valid=rows.valid)


class ElementSampler:
    """A sampler of single samples, as batches of one: for ``batch_size=None``."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[Any]]:
        for index in self.sampler:
            yield [index]

    def __len__(self) -> int:
        return len(self.sampler)


class SamplerPlan:
    """Batches of a user's own sampler or batch sampler, which is obeyed as it is.

    Where it has a state of its own (`state_dict`), the state after each batch is captured when the batch is drawn,
    because prefetching runs ahead of the loop. Otherwise a resume counts batches; its randomness is seeded from (seed,
    epoch), where `seed` is that of its own generator, or of the loader where it draws from the global ones.
    """

    def __init__(self, sampler: Any, seed: int, rank: int) -> None:
        self.sampler = sampler
        self._seed = seed
        self._first_position = rank * _RANK_STRIDE
        self._keeper = _state_keeper(sampler)
        self.restored: Any = None

    def num_steps(self, epoch: int = 0) -> int | None:
        try:
            return len(self.sampler)
        except TypeError:
            return None

    def specs(self, epoch: int, step: int) -> Iterator[BatchSpec]:
        """Raises ArgumentError when the sampler ends before `step`, which a resume had reached."""
        position, current = self._first_position, 0
        if self.restored is not None and step:
            (self._keeper or self.sampler).load_state_dict(self.restored)
            current, position = step, position + step * ROWS_PER_STEP
        key = derive(self._seed, _SAMPLER_DOMAIN, epoch)
        for generator in _generators(self.sampler):
            _seed_for_epoch(generator, epoch)
        drawing = _Drawing(self.sampler, key)
        for batch in drawing:
            indices = as_indices(batch)
            if current >= step:
                captured = None if self._keeper is None else copy.deepcopy(self._keeper.state_dict())
                yield BatchSpec(epoch, current, position, indices, sampler_state=captured)
            current, position = current + 1, position + ROWS_PER_STEP
        if current < step:
            raise ArgumentError(
                f"the sampler ended after {current} batches, but the state was taken after {step}; is it another sampler?"
            )


def _state_keeper(sampler: Any) -> Any:
    """What of a sampler has a state of its own: the sampler, or what torch's BatchSampler draws from, never ahead of its batch."""
    while not (hasattr(sampler, "state_dict") and hasattr(sampler, "load_state_dict")):
        if type(sampler) not in (BatchSampler, ElementSampler):
            return None
        sampler = sampler.sampler
    return sampler


class _Drawing:
    """Iterates a sampler under random generators of its own, so that the loop's are neither read nor changed."""

    def __init__(self, sampler: Any, key: int) -> None:
        self._states: tuple[Any, ...] | None = None
        self._key = key
        self._guards = not isinstance(sampler, list | tuple | range)
        self._guards_each = self._guards and not _draws_once(sampler)
        with self._own_generators():
            self._iterator = iter(sampler)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                batch = self._next()
            except StopIteration:
                return
            self._guards = self._guards_each
            yield batch

    def _next(self) -> Any:
        if not self._guards:
            return next(self._iterator)
        with self._own_generators():
            return next(self._iterator)

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        outer = _global_states()
        if self._states is None:
            seed_worker(self._key)
        else:
            _set_global_states(self._states)
        try:
            yield
        finally:
            self._states = _global_states()
            _set_global_states(outer)


_DRAW_ONCE = (
    BatchSampler,
    ElementSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
)


def _draws_once(sampler: Any) -> bool:
    """Whether a sampler is one of torch's own, which read the global generators at the start of an epoch only."""
    while type(sampler) in (BatchSampler, ElementSampler):
        sampler = sampler.sampler
    return type(sampler) in _DRAW_ONCE or isinstance(sampler, list | tuple | range)


def _generators(sampler: Any) -> Iterator[torch.Generator]:
    """The generators of torch's own samplers: the sampler's, and those of the samplers inside it."""
    while sampler is not None:
        generator = getattr(sampler, "generator", None)
        if isinstance(generator, torch.Generator):
            yield generator
        sampler = getattr(sampler, "sampler", None)


_given_seeds: WeakKeyDictionary[torch.Generator, tuple[int, int]] = WeakKeyDictionary()
"""The seed that the user gave a generator, and the one that it was given here since."""


def _seed_for_epoch(generator: torch.Generator, epoch: int) -> None:
    """Seeds a sampler's own generator from the seed that it was given: as it is in the first epoch, so that its order is torch's."""
    given, last = _given_seeds.get(generator, (0, None))
    if generator.initial_seed() != last:
        given = generator.initial_seed()
    seed = given if epoch == 0 else derive(given, _SAMPLER_DOMAIN, epoch) >> 1
    generator.manual_seed(seed)
    _given_seeds[generator] = given, seed


def _global_states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.default_generator.get_state()


def _set_global_states(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.default_generator.set_state(states[2])


class StreamPlan:
    """Batches of an iterable dataset, whose workers take turns. They are known only by their number."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self.progress = StreamProgress.of(num_workers)

    def num_steps(self, epoch: int = 0) -> int | None:
        return None

    def specs(self, epoch: int, step: int) -> Iterator[BatchSpec]:
        """Endless; delivery stops asking a worker that has come to its end. `progress` says where the streams begin."""
        starts, turn = dict(enumerate(self.progress.starts)), self.progress.turn
        for number in count():
            worker = (turn + number) % len(self.progress.starts)
            start = starts.pop(worker, None)
            place = step + number
            yield BatchSpec(epoch, place, place, [], worker if self.num_workers else None, stream=start)


def remaining(plan: Plan, progress: Progress, *, endless: bool) -> Iterator[BatchSpec]:
    """What is left of an epoch after `progress`; with `endless`, the epochs after it too."""
    if isinstance(plan, SamplerPlan):
        plan.restored = progress.sampler_state
    if isinstance(plan, StreamPlan):
        progress.streams = plan.progress = progress.streams or plan.progress
    done = frozenset(progress.ahead)
    for spec in plan.specs(progress.epoch, progress.step):
        if spec.step not in done:
            yield spec
    epoch = progress.epoch
    while endless and plan.num_steps(epoch + 1):
        epoch += 1
        yield from plan.specs(epoch, 0)


def as_indices(batch: Any) -> NDArray[np.int64] | list[Any]:
    """A sampler's batch as int64 where it holds nothing but ints, else as the list it is."""
    if isinstance(batch, torch.Tensor):
        batch = batch.tolist()
    indices = list(batch)
    if set(map(type, indices)) == {int}:
        try:
            return np.array(indices, np.int64)
        except OverflowError:
            return indices
    return indices
