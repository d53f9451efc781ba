"""Where a loader's order comes from: the user, or Stoker; made when the loader's seed is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stoker.engine.ranks import SharedSeed
from stoker.errors import ArgumentError
from stoker.order.orders import Order, SequentialOrder, ShuffledOrder
from stoker.order.over import counts_of, domain_of
from stoker.order.repeat import EndlessOrder
from stoker.order.token_budget import BatchOrder, EndlessBatches

Recipe = Callable[[int, int], Order | BatchOrder]
"""(samples of the dataset, the loader's seed) -> the order."""

Given = Order | BatchOrder | Recipe | None
"""What a user may give for the order."""


class OrderSource:
    """The order of a loader: `given` as it is, made by a recipe, or, where nothing is given, sequential or shuffled.

    A recipe is called once for each seed, with seed 0 first where the loader's is not known yet: only its use draws one, so
    that a state can bring its own. The order is checked against the number of samples.

    Attributes:
        name: what `explain` calls the order; known before its seed is.
        makes_batches: whether it is a `BatchOrder`.
        group_size: as `BaseOrder.group_size`.
        micro_batches: as `BatchOrder.micro_batches`.

    Raises:
        ArgumentError: what is given is no order, or one of another dataset.
    """

    def __init__(self, given: Given, num_samples: int, seed: SharedSeed, *, shuffled: bool) -> None:
        self._given = given
        self.num_samples = num_samples
        """Samples of the dataset, which may grow between epochs where no order is given."""
        self._seed = seed
        self._shuffled = shuffled
        self._made: tuple[int | None, Order | BatchOrder] | None = None
        self._endless: tuple[Order | BatchOrder, int, EndlessBatches] | None = None
        known = seed.known
        order = (
            None if given is None else self.order(0 if known is None else known)
        )  # its length does not hang on the seed
        self._length = 0 if order is None or isinstance(order, BatchOrder) else len(order)
        self.name = ("shuffled" if shuffled else "sequential") if order is None else str(order.describe()["name"])
        self.makes_batches = isinstance(order, BatchOrder)
        self.group_size: int = getattr(order, "group_size", 1)
        self.micro_batches: int = getattr(order, "micro_batches", 1)

    def __len__(self) -> int:
        """Positions of an epoch; of no use where the order makes its own batches."""
        return self.num_samples if self._given is None else self._length

    @property
    def counts_classes(self) -> bool:
        """Whether the order may know of classes."""
        return self._given is not None

    def order(self, seed: int | None = None) -> Order | BatchOrder:
        """The order under `seed`, the loader's where not given (drawn now, where there is none yet and it is needed)."""
        given = self._given
        if given is None:
            if not self._shuffled:
                return SequentialOrder(self.num_samples)
            return ShuffledOrder(self.num_samples, self._seed.value if seed is None else seed)
        if not _is_recipe(given):
            seed = None
        elif seed is None:
            seed = self._seed.value
        made = self._made
        if made is None or made[0] != seed:
            order = given if seed is None else cast("Recipe", given)(self.num_samples, seed)
            made = self._made = seed, _checked(order, self.num_samples)
        return made[1]

    def endless(self, length: int, seed: int | None = None) -> Order | BatchOrder:
        """`length` positions per epoch (micro-batches, where the order makes batches) of the endless stream of the order's epochs."""
        order = self.order(seed)
        if not isinstance(order, BatchOrder):
            return EndlessOrder(order, length)
        if (
            self._endless is None or self._endless[0] is not order or self._endless[1] != length
        ):  # it remembers where passes begin
            self._endless = order, length, EndlessBatches(order, length)
        return self._endless[2]


def _is_recipe(given: Any) -> bool:
    return callable(given) and not hasattr(given, "describe")


def _checked(order: Any, length: int) -> Order | BatchOrder:
    if not (hasattr(order, "describe") and (hasattr(order, "indices") or isinstance(order, BatchOrder))):
        raise ArgumentError(
            "order must be an order (stoker.order has them), or a function of (length, seed) that makes one; "
            f"got {type(order).__name__}."
        )
    domain = domain_of(order)
    if domain is not None and domain != length:
        raise ArgumentError(
            f"the order chooses from {domain} samples, and the dataset has {length}; make it for this dataset "
            "(weights, labels and lengths have a value for each of its samples)."
        )
    return order  # type: ignore[no-any-return]


class LateOrder:
    """A source's order, or an endless stream of it, that is made when it is first asked for.

    It is an `Order`, and a `BatchOrder` where the source's is one (`LateBatches`).
    """

    def __init__(self, source: OrderSource, stream_length: int | None = None) -> None:
        self._source = source
        self._stream_length = stream_length

    def __len__(self) -> int:
        return len(self._source) if self._stream_length is None else self._stream_length

    @property
    def name(self) -> str:
        """What `explain` calls the order; known before its seed is."""
        return self._source.name if self._stream_length is None else f"endless, {self._source.name}"

    def _order(self, seed: int | None = None) -> Any:
        if self._stream_length is None:
            return self._source.order(seed)
        return self._source.endless(self._stream_length, seed)

    def indices(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        indices: NDArray[np.int64] = self._order().indices(epoch, start, stop)
        return indices

    def describe(self, seed: int | None = None) -> dict[str, Any]:
        """As an order's; under `seed`, where it is given."""
        described: dict[str, Any] = self._order(seed).describe()
        return described

    def expected_counts(self) -> dict[str, float]:
        """As an order's."""
        return counts_of(self._order()) if self._source.counts_classes else {}


class LateBatches(LateOrder):
    """A `LateOrder` that makes its own batches."""

    @property
    def micro_batches(self) -> int:
        """As `BatchOrder.micro_batches`."""
        return self._source.micro_batches

    def num_batches(self, epoch: int) -> int:
        """As `BatchOrder.num_batches`."""
        number: int = self._order().num_batches(epoch)
        return number

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """As `BatchOrder.batch`."""
        batch: NDArray[np.int64] = self._order().batch(epoch, number)
        return batch


def check_order(order: Any, virtual_epoch: int | None, shuffle: bool | None, *, own: bool) -> None:
    """Raises ArgumentError where a loader's arguments contradict each other; `own` says whether Stoker decides the order."""
    if not own:
        raise ArgumentError(
            "order and virtual_epoch need a dataset that is not iterable, and no sampler or batch_sampler: they decide the "
            "order themselves. Leave the sampler out; stoker.order.as_sampler makes one of an order."
        )
    if order is not None and shuffle is not None:
        raise ArgumentError(f"order takes the place of shuffle; got shuffle={shuffle} too. Leave it out.")
    if virtual_epoch is not None and (isinstance(virtual_epoch, bool) or virtual_epoch < 1):
        raise ArgumentError(f"virtual_epoch must be at least 1, or None; got {virtual_epoch}.")


def check_batches(source: OrderSource, batch_size: int | None) -> None:
    """Raises ArgumentError where `batch_size` does not go with the order."""
    if source.makes_batches and batch_size != 1:
        raise ArgumentError(f"this order makes its own batches; leave batch_size out. Got batch_size={batch_size}.")
    if (batch_size or 1) % source.group_size:
        raise ArgumentError(
            f"batch_size must be a multiple of {source.group_size}, the rows of the order that belong together; got {batch_size}."
        )
