"""Orders: which sample stands at which position of an epoch. The contract, the base of Stoker's own, and the two plain ones."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.permutation import Permutation

_SHUFFLES = 0x53485546


class Order(Protocol):
    """A pure function (epoch, position) -> index, over ``len(order)`` positions of each epoch. Thread-safe.

    An order states in its docstring what it costs: O(1) memory, a table per dataset, or a plan per epoch.
    """

    def __len__(self) -> int: ...

    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """The samples at positions ``[start, stop)`` of `epoch`; int64 [stop - start]. Asked for in large blocks."""

    def describe(self) -> dict[str, Any]:
        """What the order is, as a small dict that json can hold; equal descriptions mean equal orders."""


class BaseOrder:
    """What Stoker's orders have beside the contract, so that they compose. A subclass implements `at`, `__len__`, `describe`.

    Attributes:
        group_size: how many consecutive positions belong together (a stratified batch); a loader's batch_size has to be a
            multiple of it.
        is_fixed: whether all epochs are the same.
    """

    group_size: int = 1
    is_fixed: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples at `positions` (int64 [n], in ``[0, len)``, in any order) of `epoch`; int64 [n]."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        raise NotImplementedError

    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        check_range(start, stop, len(self))
        return self.at(epoch, np.arange(start, stop, dtype=np.int64))

    @property
    def domain(self) -> int | None:
        """How many samples the dataset has that the order chooses from; None where the order does not know."""
        return None

    def expected_counts(self) -> dict[str, float]:
        """How many samples of each class (or dataset) an epoch is expected to hold, by name; empty where nobody told the classes."""
        return {}


class SequentialOrder(BaseOrder):
    """Every sample in the dataset's own order. O(1) memory."""

    is_fixed = True

    def __init__(self, length: int) -> None:
        self._length = _checked(length)

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return positions

    @property
    def domain(self) -> int | None:
        return self._length

    def describe(self) -> dict[str, Any]:
        return {"name": "sequential", "length": self._length}


class ShuffledOrder(BaseOrder):
    """Every sample once, in another order each epoch, decided by `seed`. O(1) memory from 65,536 samples on; starts at once."""

    def __init__(self, length: int, seed: int) -> None:
        self._length = _checked(length)
        self._seed = seed
        self._epoch_permutation: tuple[int, Permutation] | None = None

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._permutation(epoch)(positions)

    def _permutation(self, epoch: int) -> Permutation:
        known = self._epoch_permutation  # read once: another thread may be asking for another epoch
        if known is None or known[0] != epoch:
            known = self._epoch_permutation = epoch, Permutation(self._length, derive(self._seed, _SHUFFLES, epoch))
        return known[1]

    @property
    def domain(self) -> int | None:
        return self._length

    def describe(self) -> dict[str, Any]:
        return {"name": "shuffled", "length": self._length, "seed": self._seed}


def _checked(length: int) -> int:
    if length < 0:
        raise ArgumentError(f"length must be at least 0; got {length}.")
    return length


def check_range(start: int, stop: int, length: int) -> None:
    """Raises ArgumentError unless ``0 <= start <= stop <= length``."""
    if not 0 <= start <= stop <= length:
        raise ArgumentError(f"positions must satisfy 0 <= start <= stop <= {length}; got start={start}, stop={stop}.")
