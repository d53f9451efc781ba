"""Curriculum: samples in the order of a user's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.orders import Order
from stoker.order.over import PlannedOrder, as_order, counts_of, domain_of, whole

KeyFunction = Callable[[int, NDArray[np.int64]], Any]
"""(epoch, indices of samples: int64 [n]) -> n numbers. Pure; called once for all samples of an epoch."""


class CurriculumOrder(PlannedOrder):
    """An order's samples by ascending key; samples of one key stay in the order that they were in. A plan per epoch.

    Coarse keys over a shuffled order make stages that are shuffled inside: ``CurriculumOrder(ShuffledOrder(n, seed),
    lambda epoch, indices: difficulty[indices] // 10)``.

    Args:
        over: the order, or the dataset's length.
        key: (epoch, indices: int64 [n]) -> n numbers, the easiest sample's the smallest.
        name: tells this key from others in a resume state; the function's name where not given.

    Raises:
        ArgumentError: `key` does not give a number for each sample, or gives NaN (when an epoch is planned).
    """

    def __init__(self, over: Order | int, key: KeyFunction, *, name: str | None = None) -> None:
        self._over = as_order(over)
        self._key = key
        self._key_name = name or getattr(key, "__qualname__", type(key).__qualname__)
        super().__init__(len(self._over))

    def plan(self, epoch: int) -> NDArray[np.int64]:
        samples = whole(self._over, epoch)
        keys = np.asarray(self._key(epoch, samples.copy()))
        if keys.shape != samples.shape or keys.dtype.kind not in "biuf":
            raise ArgumentError(
                f"key must give one number for each of {len(samples)} samples; got shape {keys.shape} of {keys.dtype}."
            )
        if keys.dtype.kind == "f" and np.isnan(keys).any():
            raise ArgumentError(f"key must give numbers; got NaN for sample {samples[np.isnan(keys)][0]}.")
        return samples[np.argsort(keys, kind="stable")]

    @property
    def domain(self) -> int | None:
        return domain_of(self._over)

    def expected_counts(self) -> dict[str, float]:
        return counts_of(self._over)

    def describe(self) -> dict[str, Any]:
        return {"name": "curriculum", "key": self._key_name, "over": self._over.describe()}
