"""Token budget: batches of as many samples as fit, of about equal cost, planned for all ranks together."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.lengths import check_lengths
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import Plans, as_order, counts_of, digest, whole
from stoker.order.permutation import Permutation

_BUDGET = 0x42554447


@runtime_checkable
class BatchOrder(Protocol):
    """An order that makes its own batches, of varying size. Pure and thread-safe, as an `Order`, which it may be too.

    `micro_batches` of them, M, are one step of all ranks together: rank r of W takes those whose number is r modulo W, so
    that W has to divide M, and a step's samples do not depend on W.
    """

    @property
    def micro_batches(self) -> int:
        """M: micro-batches of one step over all ranks."""

    def num_batches(self, epoch: int) -> int:
        """Micro-batches of `epoch`, over all ranks; a multiple of M wherever there are enough samples."""

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """The samples of micro-batch `number` of `epoch`; int64 [rows], at least one."""

    def describe(self) -> dict[str, Any]:
        """As an order's."""


class TokenBudgetOrder(BaseOrder):
    """Batches whose rows times longest row stay within a budget. A plan per epoch; about 3 s for 10 million samples.

    Windows of the order are sorted by length and cut greedily, and all batches of the epoch are shuffled. So that every
    rank takes the same number of steps, the batches with most rows are halved until their number is a multiple of
    `micro_batches`: no sample is left out, and none repeated. As an order of single samples it has them in this sequence.

    Args:
        over: the order (a shuffled one, for training), or the dataset's length.
        lengths: the length of each sample of the dataset, by index: tokens, frames.
        budget: what a batch may hold after padding: its rows times its longest row.
        seed: decides the order of the batches.
        micro_batches: M, batches of one step over all ranks; the number of ranks has to divide it.
        max_rows: rows that a batch has at most.
        window: how many samples are sorted together. More pad less and mix less.

    Raises:
        ArgumentError: a sample is longer than the budget (names it), a number is less than 1, or the number of lengths is
            not that of the samples.
    """

    def __init__(
        self, over: Order | int, lengths: Any, budget: int, *, seed: int,
        micro_batches: int = 1, max_rows: int | None = None, window: int = 16_384,
    ) -> None:  # fmt: skip
        self._over = as_order(over)
        self._lengths = check_lengths(lengths, self._over)
        for name, value in {"budget": budget, "micro_batches": micro_batches, "window": window}.items():
            if value < 1:
                raise ArgumentError(f"{name} must be at least 1; got {value}.")
        if max_rows is not None and max_rows < 1:
            raise ArgumentError(f"max_rows must be at least 1, or None for no limit; got {max_rows}.")
        too_long = np.flatnonzero(self._lengths > budget)
        if too_long.size:
            raise ArgumentError(
                f"no sample may be longer than the budget of {budget}; sample {too_long[0]} has length "
                f"{self._lengths[too_long[0]]}, and {too_long.size - 1} more do. Cut them, leave them out, or raise the budget."
            )
        self._budget, self._max_rows, self._window = budget, max_rows, window
        self._seed = seed
        self.micro_batches = micro_batches
        self._plans: Plans[tuple[NDArray[np.int64], NDArray[np.int64]]] = Plans(self._plan)

    def _plan(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(samples in the order of batches, where each batch begins and the last one ends)."""
        samples = whole(self._over, epoch)
        ends: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        for start in range(0, len(samples), self._window):
            part = samples[start : start + self._window]
            part = samples[start : start + self._window] = part[np.argsort(self._lengths[part], kind="stable")]
            ends.append(start + greedy_ends(np.maximum(1, self._lengths[part]), self._budget, self._max_rows))
        bounds = _to_multiple(np.concatenate(ends), self.micro_batches)
        sizes = np.diff(bounds)
        shuffled = Permutation(len(sizes), derive(self._seed, _BUDGET, epoch))(np.arange(len(sizes)))
        begins = np.concatenate([[0], np.cumsum(sizes[shuffled])])
        rows = np.arange(len(samples)) + np.repeat(bounds[:-1][shuffled] - begins[:-1], sizes[shuffled])
        return samples[rows], begins

    def num_batches(self, epoch: int) -> int:
        """As `BatchOrder.num_batches`."""
        return len(self._plans(epoch)[1]) - 1

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """As `BatchOrder.batch`."""
        samples, begins = self._plans(epoch)
        return samples[begins[number] : begins[number + 1]].copy()

    def __len__(self) -> int:
        return len(self._over)

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._plans(epoch)[0][positions]

    @property
    def domain(self) -> int | None:
        return len(self._lengths)

    def expected_counts(self) -> dict[str, float]:
        return counts_of(self._over)

    @cached_property
    def _digest(self) -> str:
        return digest(self._lengths)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "token budget", "over": self._over.describe(), "lengths": self._digest, "seed": self._seed,
            "budget": self._budget, "micro_batches": self.micro_batches, "max_rows": self._max_rows, "window": self._window,
        }  # fmt: skip


def greedy_ends(lengths: NDArray[np.int64], budget: int, max_rows: int | None) -> NDArray[np.int64]:
    """Where batches end that take as many of the ascending `lengths` as fit: rows times the last one's length within `budget`."""
    count = len(lengths)
    low = np.arange(1, count + 1)  # a batch of one always fits
    high = np.minimum(count, np.arange(count) + (max_rows or count))
    while (low < high).any():  # for every possible beginning at once, the last end that fits
        middle = (low + high + 1) // 2
        fits = (middle - np.arange(count)) * lengths[middle - 1] <= budget
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    following, ends, end = low.tolist(), [], 0
    while end < count:
        end = following[end]
        ends.append(end)
    return np.array(ends, np.int64)


def _to_multiple(bounds: NDArray[np.int64], multiple: int) -> NDArray[np.int64]:
    """Halves the batches with most rows until their number is a `multiple`, or all have one row."""
    while (len(bounds) - 1) % multiple:
        sizes = np.diff(bounds)
        largest = int(sizes.argmax())
        if sizes[largest] < 2:
            break
        bounds = np.insert(bounds, largest + 1, bounds[largest] + sizes[largest] // 2)
    return bounds


class EndlessBatches:
    """The endless stream of a `BatchOrder`'s epochs, `length` of its micro-batches per epoch.

    A pass over the samples may have more batches than another, so that finding a place plans all passes before it, once.

    Raises:
        ArgumentError: a pass has no batch at all.
    """

    def __init__(self, over: BatchOrder, length: int) -> None:
        self._over = over
        self._length = length
        self.micro_batches = over.micro_batches
        self._first = [0]  # the number of the first batch of each pass that is known
        if not over.num_batches(0):
            raise ArgumentError("an order without a sample cannot be repeated.")

    def num_batches(self, epoch: int) -> int:
        """`length`."""
        return self._length

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """As `BatchOrder.batch`."""
        place = epoch * self._length + number
        first = self._first
        while first[-1] <= place:
            first = self._first = [*first, first[-1] + self._over.num_batches(len(first) - 1)]
        passed = int(np.searchsorted(first, place, side="right")) - 1
        return self._over.batch(passed, place - first[passed])

    def expected_counts(self) -> dict[str, float]:
        """Not known beforehand: a pass's number of batches differs."""
        return {}

    def describe(self) -> dict[str, Any]:
        return {"name": "endless", "length": self._length, "over": self._over.describe()}
