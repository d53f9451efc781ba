"""Orders over other orders: what composition needs.

The rule of all compositions: weights, labels, lengths and keys belong to the dataset's samples, by index; an order over
another order takes that order's epoch, with its repeats, for what there is to choose from or to rearrange.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import mix64_array
from stoker.order.orders import BaseOrder, Order, SequentialOrder

T = TypeVar("T")
_PLANS_KEPT = 2  # an epoch's end and the next one's beginning are asked for in turn


class Plans(Generic[T]):
    """Remembers what `build` made of the last two epochs. Thread-safe: at worst a plan is made twice. Pickles without them."""

    def __init__(self, build: Callable[[int], T]) -> None:
        self._build = build
        self._kept: dict[int, T] = {}

    def __call__(self, epoch: int) -> T:
        kept = self._kept
        plan = kept.get(epoch)
        if plan is None:
            plan = self._build(epoch)
            recent = dict(list(kept.items())[1 - _PLANS_KEPT :])
            self._kept = {**recent, epoch: plan}
        return plan

    def __getstate__(self) -> dict[str, Any]:
        return {"_build": self._build, "_kept": {}}


class PlannedOrder(BaseOrder):
    """An order that plans a whole epoch at once: a subclass implements `plan`. 8 bytes per position, for two epochs."""

    def __init__(self, length: int) -> None:
        if length < 0:
            raise ArgumentError(f"length must be at least 0; got {length}.")
        self._length = length
        self._plans: Plans[NDArray[np.int64]] = Plans(self.plan)

    def __len__(self) -> int:
        return self._length

    def plan(self, epoch: int) -> NDArray[np.int64]:
        """The whole epoch; int64 [len]."""
        raise NotImplementedError

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._plans(epoch)[positions]


def as_order(over: Order | int) -> Order:
    """A length stands for a dataset's own order."""
    return SequentialOrder(over) if isinstance(over, int) else over


def take(order: Order, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The samples at any `positions` of `epoch`; where the order only has `indices`, through the range that covers them."""
    if isinstance(order, BaseOrder):
        return order.at(epoch, positions)
    if not positions.size:
        return np.empty(0, np.int64)
    first = int(positions.min())
    return order.indices(epoch, first, int(positions.max()) + 1)[positions - first]


def take_stream(order: Order, stream: NDArray[np.int64]) -> NDArray[np.int64]:
    """The samples at positions of the endless stream of all epochs: position p is ``p % len`` of epoch ``p // len``."""
    passes, positions = np.divmod(stream, len(order))
    if not passes.size:
        return np.empty(0, np.int64)
    if passes.min() == passes.max():
        return take(order, int(passes[0]), positions)
    by_pass = np.argsort(passes, kind="stable")
    numbers, starts = np.unique(passes[by_pass], return_index=True)
    samples = np.empty(len(stream), np.int64)
    for number, rows in zip(numbers.tolist(), np.split(by_pass, starts[1:]), strict=True):
        samples[rows] = take(order, number, positions[rows])
    return samples


def whole(order: Order, epoch: int) -> NDArray[np.int64]:
    """All samples of `epoch`."""
    return order.indices(epoch, 0, len(order))


def domain_of(order: Order) -> int | None:
    """`BaseOrder.domain`, of any order."""
    return getattr(order, "domain", None)


def counts_of(order: Order) -> dict[str, float]:
    """`BaseOrder.expected_counts`, of any order."""
    return order.expected_counts() if isinstance(order, BaseOrder) else {}


def is_fixed(order: Order | None) -> bool:
    """Whether all epochs of an order are the same; no order stands for the dataset's own."""
    return order is None or bool(getattr(order, "is_fixed", False))


def per_sample(name: str, values: Any, over: Order | None) -> NDArray[Any]:
    """`values` as an array with one element for each sample of the dataset.

    Raises:
        ArgumentError: it has more than one dimension, or another length than the dataset that `over` chooses from.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ArgumentError(f"{name} must have one dimension, a value for each sample; got shape {array.shape}.")
    domain = None if over is None else domain_of(over)
    if domain is not None and domain != len(array):
        raise ArgumentError(
            f"{name} must have a value for each sample of the dataset, by its index; got {len(array)} for {domain} samples."
        )
    return array


def candidates(name: str, count: int, over: Order, epoch: int) -> NDArray[np.int64]:
    """The samples of `over`'s epoch, each of which has one of `count` values called `name`. Raises ArgumentError where one has none."""
    samples = whole(over, epoch)
    if samples.size and not 0 <= int(samples.min()) <= int(samples.max()) < count:
        raise ArgumentError(
            f"{name} must have a value for each sample; got {count}, and the order has sample {samples.max()}."
        )
    return samples


def digest(array: NDArray[Any]) -> str:
    """16 hexadecimal digits that tell one array from another, in a state."""
    kind = f"{array.dtype.str}{array.shape}".encode()
    data = repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).view(np.uint8).data
    return blake2b(data, digest_size=8, key=kind[:64]).hexdigest()


def draws(key: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A 64-bit random number for each position under `key`."""
    return mix64_array(mix64_array(positions.astype(np.uint64)) ^ np.uint64(key))


def shuffled_rows(key: int, rows: int, width: int) -> NDArray[np.int64]:
    """`rows` independent permutations of ``range(width)``; int64 [rows, width]."""
    values = draws(key, np.arange(rows * width, dtype=np.int64)).reshape(rows, width)
    return np.argsort(values, axis=1, kind="stable").astype(np.int64)
