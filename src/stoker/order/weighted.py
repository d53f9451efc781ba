"""Weighted draws, with replacement (an alias table) and without (a plan per epoch)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.alias import AliasTable, check_weights
from stoker.order.keys import derive
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import PlannedOrder, Plans, candidates, digest, draws, is_fixed, per_sample

_WEIGHTED, _WITHOUT = 0x57454948, 0x574F5245


class WeightedOrder(BaseOrder):
    """Draws samples with replacement, each with a probability proportional to its weight. A table of 8 bytes per weight.

    Over another order whose epochs differ, the table is made anew for each epoch, of the samples that it holds.

    Args:
        weights: one for each sample of the dataset, by index; none negative. 100 million take seconds.
        seed: decides the draws.
        length: draws per epoch; as many as there are samples to choose from where not given.
        over: the order whose samples are drawn from; all of the dataset where not given.
        labels: the class of each sample, for `expected_counts` alone.

    Raises:
        ArgumentError: a weight is negative or not finite, none is positive, or the lengths differ.
    """

    def __init__(
        self, weights: Any, *, seed: int, length: int | None = None, over: Order | None = None, labels: Any = None
    ) -> None:
        self._weights = per_sample("weights", weights, over)
        self._labels = None if labels is None else per_sample("labels", labels, over)
        self._seed = seed
        self._over = over
        self._length = checked_length(length, len(self._weights) if over is None else len(over))
        self._tables: Plans[tuple[AliasTable, NDArray[np.int64] | None]] = Plans(self._table)
        if is_fixed(over):
            self._tables(0)  # in the parent, and at once: what is wrong with the weights is said now
        else:
            check_weights(self._weights)
        if labels is not None and len(self._labels) != len(self._weights):  # type: ignore[arg-type]
            raise ArgumentError(f"labels must be as many as weights; got {len(labels)} and {len(self._weights)}.")

    def _table(self, epoch: int) -> tuple[AliasTable, NDArray[np.int64] | None]:
        if self._over is None:
            return AliasTable(self._weights), None
        samples = candidates("weights", len(self._weights), self._over, epoch)
        return AliasTable(self._weights[samples]), samples

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        table, samples = self._tables(0 if is_fixed(self._over) else epoch)
        drawn = table.draw(draws(derive(self._seed, _WEIGHTED, epoch), positions))
        return drawn if samples is None else samples[drawn]

    @property
    def domain(self) -> int | None:
        return len(self._weights)

    def expected_counts(self) -> dict[str, float]:
        if self._labels is None:
            return {}
        weights, labels = self._weights, self._labels
        if self._over is not None:
            samples = candidates("weights", len(weights), self._over, 0)
            weights, labels = weights[samples], labels[samples]
        names, codes = np.unique(labels, return_inverse=True)
        shares = np.bincount(codes, weights=weights) / weights.sum(dtype=np.float64)
        return {str(name): float(share) * self._length for name, share in zip(names, shares, strict=True)}

    @cached_property
    def _digest(self) -> str:
        return digest(self._weights)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "weighted", "weights": self._digest, "length": self._length, "seed": self._seed,
            **({} if self._over is None else {"over": self._over.describe()}),
        }  # fmt: skip


class WeightedWithoutReplacementOrder(PlannedOrder):
    """Draws samples one after the other without replacement, each in proportion to its weight among those that are left.

    A plan per epoch: samples in the order of their exponential keys (Efraimidis and Spirakis 2006), which takes some
    seconds for 10 million. A sample of weight 0 is never drawn.

    Args:
        weights: one for each sample of the dataset, by index; none negative.
        seed: decides the draws.
        length: draws per epoch; every sample of positive weight where not given.
        over: the order whose samples are drawn from; all of the dataset where not given.

    Raises:
        ArgumentError: as `WeightedOrder`; or fewer samples than `length` have a positive weight.
    """

    def __init__(self, weights: Any, *, seed: int, length: int | None = None, over: Order | None = None) -> None:
        self._weights = check_weights(per_sample("weights", weights, over))
        self._seed = seed
        self._over = over
        first = self._weights if over is None else self._weights[candidates("weights", len(self._weights), over, 0)]
        positive = int(np.count_nonzero(first))
        super().__init__(checked_length(length, positive))
        if len(self) > positive:
            raise ArgumentError(
                f"length must be at most the number of samples with a positive weight, {positive}; got {length}."
            )

    def plan(self, epoch: int) -> NDArray[np.int64]:
        weights, samples = self._weights, None
        if self._over is not None:
            samples = candidates("weights", len(weights), self._over, epoch)
            weights = weights[samples]
        positive = np.flatnonzero(weights)
        if len(positive) < len(self):
            raise ArgumentError(
                f"epoch {epoch} of the order that is drawn from has {len(positive)} samples of positive weight, "
                f"and length is {len(self)}; give a smaller length."
            )
        times = _exponentials(draws(derive(self._seed, _WITHOUT, epoch), positive)) / weights[positive]
        if 2 * len(self) < len(times):  # only the first ones have to be sorted
            first = np.sort(np.argpartition(times, len(self))[: len(self) + 1])
            times, positive = times[first], positive[first]
        drawn = positive[np.argsort(times, kind="stable")[: len(self)]]
        return drawn if samples is None else samples[drawn]

    @property
    def domain(self) -> int | None:
        return len(self._weights)

    @cached_property
    def _digest(self) -> str:
        return digest(self._weights)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "weighted without replacement", "weights": self._digest, "length": len(self), "seed": self._seed,
            **({} if self._over is None else {"over": self._over.describe()}),
        }  # fmt: skip


def checked_length(length: int | None, default: int) -> int:
    """`length`, or `default` where it is None. Raises ArgumentError below 0."""
    if length is not None and length < 0:
        raise ArgumentError(f"length must be at least 0; got {length}.")
    return default if length is None else length


def _exponentials(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A draw from the standard exponential distribution for each uniform 64-bit number.

    The logarithm is made of additions, multiplications and divisions alone, which all machines round alike; a library's
    differs from one processor to the next in the last bit, and with it, now and then, the order of two samples.
    """
    uniform = ((keys >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    mantissa, exponent = np.frexp(uniform)
    small = mantissa < 0.7071067811865476
    mantissa, exponent = np.where(small, mantissa * 2, mantissa), exponent - small
    ratio = (mantissa - 1) / (mantissa + 1)  # log(m) = 2 atanh(ratio), |ratio| < 0.172
    square = ratio * ratio
    series = np.full_like(ratio, 1 / 21)
    for odd in range(19, 0, -2):
        series *= square
        series += 1 / odd
    negative: NDArray[np.float64] = exponent * 0.6931471805599453 + 2 * ratio * series
    return -negative
