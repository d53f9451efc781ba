"""Randomness of other people's code: every sample sees generators seeded from its own key.

A sample's key is derived from (seed, epoch, global position), so a transform that draws from ``random``,
``numpy.random`` or ``torch`` gives the same sample in any worker, at any time. Stoker's own operations read the key
itself (`stoker.order.keys.current_key`) and need none of this.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from stoker.engine.generators import PrivateGenerator, find_generators
from stoker.engine.purity import draws_nothing, only_indexes
from stoker.order.keys import current_key, set_current_key

_MASK32 = 0xFFFFFFFF


class Seeder:
    """Seeds all generators that the code behind `roots` may draw from. Not thread-safe: the global generators are the process's.

    Args:
        roots: the dataset and whatever else runs per sample or per batch.
        owns_generators: whether the global generators may be seeded here; in a thread they are the training loop's.

    Attributes:
        needs_keys: whether any of them may read a key at all.
        foreign: whether any of them may draw from generators that have to be seeded.
    """

    def __init__(self, *roots: Any, owns_generators: bool = True) -> None:
        self.needs_keys = not all(only_indexes(root) for root in roots)
        self.foreign = owns_generators and not all(draws_nothing(root) for root in roots)
        self._private: list[PrivateGenerator] = find_generators(roots) if self.foreign else []

    @property
    def has_private_generators(self) -> bool:
        return bool(self._private)

    def seed(self, key: int) -> None:
        """Makes `key` the current one, and seeds the generators with it where foreign code may draw."""
        set_current_key(key)
        if not self.foreign:
            return
        random.seed(key)
        np.random.seed(key & _MASK32)
        torch.default_generator.manual_seed(key)
        for generator in self._private:
            generator.seed(key)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Gives the training loop its own random state back afterwards: inline execution shares its generators."""
        outer = current_key()  # not None where a sample of a loader loads by a loader of its own
        if not self.foreign:
            try:
                yield
            finally:
                set_current_key(outer)
            return
        saved = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
        private = [(generator, generator.state()) for generator in self._private]
        try:
            yield
        finally:
            set_current_key(outer)
            random.setstate(saved[0])
            np.random.set_state(saved[1])
            torch.default_generator.set_state(saved[2])
            for generator, state in private:
                generator.restore(state)


def worker_seed(seed: int, epoch: int, num_workers: int) -> int:
    """What torch calls the base seed of an epoch's workers: a worker adds its number. Non-negative, below 2⁶³."""
    return (seed + epoch * num_workers) & (2**63 - 1)


def seed_worker(seed: int) -> None:
    """Seeds the three global generators as torch seeds its workers."""
    random.seed(seed)
    np.random.seed(seed & _MASK32)
    torch.default_generator.manual_seed(seed)


def global_state_digest() -> tuple[Any, ...]:
    """A comparable picture of the three global generators, to see whether code drew from them."""
    numpy_state: Any = np.random.get_state()
    return (
        random.getstate(),
        (numpy_state[1].tobytes(), *numpy_state[2:]),
        torch.default_generator.get_state().numpy().tobytes(),
    )
