"""Orders that go on: an order several times in one epoch, and the endless stream of its epochs cut into pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import as_order, counts_of, domain_of, is_fixed, take, take_stream


class EndlessOrder(BaseOrder):
    """The endless stream of an order's epochs, `length` positions of it per epoch. O(1) memory beside the order's own.

    Position p of epoch e is position ``q = e * length + p`` of the stream, which is position ``q % n`` of the order's own
    epoch ``q // n``: every sample comes once before any comes again, however the stream is cut.

    Raises:
        ArgumentError: `length` is negative, or there is nothing to repeat.
    """

    _name = "endless"

    def __init__(self, over: Order | int, length: int) -> None:
        self._over = as_order(over)
        self._length = length
        if length < 0:
            raise ArgumentError(f"length must be at least 0; got {length}.")
        if length and not len(self._over):
            raise ArgumentError("an order without a sample cannot be repeated.")

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return take_stream(self._over, positions + epoch * self._length)

    @property
    def domain(self) -> int | None:
        return domain_of(self._over)

    def expected_counts(self) -> dict[str, float]:
        share = self._length / max(1, len(self._over))
        return {name: count * share for name, count in counts_of(self._over).items()}

    def describe(self) -> dict[str, Any]:
        return {"name": self._name, "length": self._length, "over": self._over.describe()}


class RepeatOrder(EndlessOrder):
    """An order `times` times in each epoch, every time as in an epoch of its own: a shuffled one is shuffled anew. O(1) memory.

    Raises:
        ArgumentError: `times` is less than 1.
    """

    _name = "repeat"

    def __init__(self, over: Order | int, times: int) -> None:
        order = as_order(over)
        if times < 1:
            raise ArgumentError(f"times must be at least 1; got {times}.")
        super().__init__(order, len(order) * times)
        self.is_fixed = is_fixed(order)


class RearrangedOrder(BaseOrder):
    """One order's positions, taken in the order of another: ``RearrangedOrder(ShuffledOrder(len(part), seed), over=part)``.

    O(1) memory beside the two orders' own.

    Raises:
        ArgumentError: `by` chooses from another number of positions than `over` has.
    """

    def __init__(self, by: Order, *, over: Order) -> None:
        if domain_of(by) != len(over):
            raise ArgumentError(
                f"an order rearranges another of as many positions as it chooses from; got {domain_of(by)} over {len(over)}."
            )
        self._by = by
        self._over = over
        self.is_fixed = is_fixed(by) and is_fixed(over)

    def __len__(self) -> int:
        return len(self._by)

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return take(self._over, epoch, take(self._by, epoch, positions))

    @property
    def domain(self) -> int | None:
        return domain_of(self._over)

    def describe(self) -> dict[str, Any]:
        return {"name": "rearranged", "by": self._by.describe(), "over": self._over.describe()}
