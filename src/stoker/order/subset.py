"""Some samples of a dataset, or some positions of another order."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import digest, domain_of, is_fixed, take


class SubsetOrder(BaseOrder):
    """The samples of `indices`, in that order; with `over`, the samples at those positions of each of its epochs. A table.

    ``SubsetOrder(indices)`` is a part of a dataset. ``SubsetOrder(indices, over=ShuffledOrder(len(dataset), seed))`` is a
    part of each epoch, another one every time. To shuffle a part, put it under a `RearrangedOrder`.

    Raises:
        ArgumentError: `indices` are not whole numbers in one dimension, or lie outside of what there is.
    """

    def __init__(self, indices: Any, *, over: Order | None = None) -> None:
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ArgumentError(
                f"indices must be whole numbers in one dimension; got shape {chosen.shape} of {chosen.dtype}."
            )
        stop = None if over is None else len(over)
        if chosen.size and (int(chosen.min()) < 0 or (stop is not None and int(chosen.max()) >= stop)):
            raise ArgumentError(
                f"indices must be at least 0{'' if stop is None else f' and below {stop}'}; "
                f"got {chosen.min()} to {chosen.max()}."
            )
        self._indices = chosen.astype(np.int64)
        self._over = over
        self.is_fixed = is_fixed(over)

    def __len__(self) -> int:
        return len(self._indices)

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        chosen = self._indices[positions]
        return chosen if self._over is None else take(self._over, epoch, chosen)

    @property
    def domain(self) -> int | None:
        return None if self._over is None else domain_of(self._over)

    @cached_property
    def _digest(self) -> str:
        return digest(self._indices)

    def describe(self) -> dict[str, Any]:
        over = {} if self._over is None else {"over": self._over.describe()}
        return {"name": "subset", "indices": self._digest, "length": len(self), **over}
