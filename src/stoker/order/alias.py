"""The alias table: draws from any discrete distribution in O(1), exactly, from integers alone.

Walker's method (1977), built with prefix sums instead of two stacks, as Hübschle-Schneider and Sanders (Parallel weighted
random sampling, 2019) do, so that it is a handful of passes over arrays. Weights become integers that add up to
``n * 2**32``: each of n slots holds 2^32 units, its own sample's up to a threshold and one other's, the alias's, from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import GOLDEN, mix64_array

_BITS = 32
_UNIT = 1 << _BITS
_MAX_WEIGHTS = 1 << 30  # n * 2^32 units have to fit in 62 bits


class AliasTable:
    """Draws ``i`` with a probability proportional to ``weights[i]``. 8 bytes per weight; immutable, thread-safe.

    Probabilities are exact to 2^-32 of their mean. Every step of the building is exact or correctly rounded arithmetic,
    so that all machines build the same table.

    Raises:
        ArgumentError: `weights` are not numbers in one dimension, finite, none negative and some positive.
    """

    def __init__(self, weights: NDArray[Any]) -> None:
        units = integer_weights(weights, len(weights) * _UNIT)
        self._length = len(units)
        alias = np.arange(self._length, dtype=np.uint32)
        light, heavy = np.flatnonzero(units < _UNIT), np.flatnonzero(units >= _UNIT)
        lacking = _UNIT - units[light]
        lacked, given = np.cumsum(lacking), np.cumsum(units[heavy] - _UNIT)
        # Heavy samples fill light slots in turn; light slot i takes from the first heavy one that is not used up by then.
        alias[light] = heavy[np.searchsorted(given, lacked - lacking, side="right")]
        threshold = units[light]
        self._threshold = np.full(self._length, _UNIT - 1, np.uint32)
        self._threshold[light] = threshold
        # The light slot that used up a heavy sample took more than it had to spare; the next heavy one fills that up.
        lacked = np.concatenate([[0], lacked])
        short = lacked[np.searchsorted(lacked, given, side="left")] - given
        overdrawn = np.flatnonzero(short)
        alias[heavy[overdrawn]] = heavy[overdrawn + 1]
        self._threshold[heavy[overdrawn]] = _UNIT - short[overdrawn]
        self._alias = alias

    def __len__(self) -> int:
        return self._length

    def draw(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """One draw for each of `keys`, which are uniform 64-bit numbers; int64 of the same shape."""
        length = np.uint64(self._length)
        low = ((keys & np.uint64(_UNIT - 1)) * length) >> np.uint64(_BITS)
        slots = ((keys >> np.uint64(_BITS)) * length + low) >> np.uint64(_BITS)  # keys * length / 2^64
        coins = mix64_array(keys + np.uint64(GOLDEN)) >> np.uint64(_BITS)
        chosen: NDArray[np.int64] = np.where(coins < self._threshold[slots], slots, self._alias[slots]).astype(np.int64)
        return chosen

    def probabilities(self) -> NDArray[np.float64]:
        """The chance of each sample, as the table has it; float64 [n]."""
        own = self._threshold.astype(np.float64)
        own[self._alias == np.arange(self._length)] = _UNIT
        other = np.bincount(self._alias, weights=_UNIT - own, minlength=self._length)
        return (own + other) / (self._length * _UNIT)


def integer_weights(weights: NDArray[Any], total: int) -> NDArray[np.int64]:
    """Whole numbers proportional to `weights`, within a unit or two, that add up to `total`; int64 [n]. Zero stays zero.

    Raises:
        ArgumentError: as `AliasTable`.
    """
    values = check_weights(weights)
    bits = 62 - len(values).bit_length()
    values *= 2.0**bits / float(values.max())
    np.rint(values, out=values)  # whole numbers: their sum is exact, a float's is not
    values *= total / int(values.astype(np.int64).sum())
    units = values.astype(np.int64)
    positive = weights > 0
    np.maximum(units, positive, out=units)
    rest = total - int(units.sum())
    payers = positive if rest >= 0 else units >= total // len(units)
    each, extra = divmod(abs(rest), int(np.count_nonzero(payers)))
    sign = 1 if rest >= 0 else -1
    if each:
        units += payers * (sign * each)
    units[np.flatnonzero(payers)[:extra]] += sign
    return units


def check_weights(weights: NDArray[Any]) -> NDArray[np.float64]:
    """`weights` as float64 [n], divided by a power of two so that the largest is in [0.5, 1). Raises ArgumentError as `AliasTable`."""
    if weights.ndim != 1 or weights.dtype.kind not in "biuf" or not 0 < len(weights) <= _MAX_WEIGHTS:
        raise ArgumentError(
            f"weights must be between 1 and 2^30 numbers in one dimension; got shape {weights.shape} of {weights.dtype}."
        )
    values = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        raise ArgumentError(
            f"weights must be finite and not negative; got {values[wrong[0]]} for sample {wrong[0]}, and {wrong.size - 1} more."
        )
    top = float(values.max())
    if top <= 0:
        raise ArgumentError("weights must have at least one that is positive; got zeros alone.")
    scaled: NDArray[np.float64] = np.ldexp(values, -int(np.frexp(top)[1]))
    return scaled
