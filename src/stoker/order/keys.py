"""Keys: 64-bit numbers that decide everything random, derived from (seed, epoch, position) by integer arithmetic alone.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
2014), a bijection on 64 bits. Every function here is pure but those that say what is
current, which are thread-local.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: steps of it visit all 64-bit numbers, evenly spread
_MASK = (1 << 64) - 1
_SAMPLES, _BATCHES = 0x53414D50, 0x42415443  # domains: the sample and the batch of one position have unrelated keys


def mix64(value: int) -> int:
    """A bijection on 64-bit integers in which every bit of the result depends on every bit of `value`."""
    value &= _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def mix64_array(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix64` of each element; a new array."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def derive(key: int, *words: int) -> int:
    """A key for each sequence of integers under `key`: folds one word after the other, so that the order of words counts."""
    for word in words:
        key = mix64((key + GOLDEN) ^ mix64(word))
    return key


def derive_array(keys: NDArray[np.uint64], word: int) -> NDArray[np.uint64]:
    """``derive(key, word)`` of each key."""
    return mix64_array((keys + np.uint64(GOLDEN)) ^ np.uint64(mix64(word)))


def derive_each(key: int, count: int) -> NDArray[np.uint64]:
    """``derive(key, number)`` for each number in ``range(count)``."""
    return mix64_array(mix64_array(np.arange(count, dtype=np.uint64)) ^ np.uint64((key + GOLDEN) & _MASK))


def uniforms(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The first ``KeyedRandom(key).uniform()`` of each key."""
    return (mix64_array(mix64_array(keys) + np.uint64(GOLDEN)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_key(seed: int, epoch: int, position: int) -> int:
    """The key of the sample at global `position` of `epoch`."""
    return derive(seed, _SAMPLES, epoch, position)


def sample_keys(seed: int, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """`sample_key` of each position; uint64 of the same shape."""
    prefix = np.uint64((derive(seed, _SAMPLES, epoch) + GOLDEN) & _MASK)
    return mix64_array(mix64_array(positions.astype(np.uint64)) ^ prefix)


def batch_key(seed: int, epoch: int, position: int) -> int:
    """The key of code that sees a whole batch; `position` is the global position of the batch's first row."""
    return derive(seed, _BATCHES, epoch, position)


class KeyedRandom:
    """A counter-based random generator: draw number i under a key is a function of (key, i). Not thread-safe; cheap to make."""

    __slots__ = ("_counter",)

    def __init__(self, key: int) -> None:
        self._counter = mix64(key)

    def _next(self) -> int:
        self._counter = (self._counter + GOLDEN) & _MASK
        return mix64(self._counter)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A float in [low, high), of 53 random bits."""
        return low + (high - low) * ((self._next() >> 11) * 2.0**-53)

    def integers(self, low: int, high: int) -> int:
        """An int in [low, high), all equally likely. Raises ValueError when there is none."""
        span = high - low
        if span < 1:
            raise ValueError(f"integers needs low < high; got low={low}, high={high}.")
        if span > _MASK:
            raise ValueError(f"integers draws from at most 2^64 values; got low={low}, high={high}.")
        reject = (
            1 << 64
        ) % span  # Lemire's multiplication (2019): the few values that would make some results likelier
        while True:
            product = self._next() * span
            if product & _MASK >= reject:
                return low + (product >> 64)

    def normal(self) -> float:
        """A draw from the standard normal distribution (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())


class _Current(threading.local):
    key: int | None = None
    epoch: int = 0


_current = _Current()


def current_key() -> int | None:
    """The key of the sample (or batch) that is being made in this thread; None outside a loader."""
    return _current.key


def set_current_key(key: int | None) -> None:
    """Says whose key operations read from now on in this thread. The engine's to call."""
    _current.key = key


def current_epoch() -> int:
    """The epoch whose samples are being made in this thread; 0 outside a loader."""
    return _current.epoch


def set_current_epoch(epoch: int) -> None:
    """Says which epoch `current_epoch` gives from now on in this thread. The engine's to call."""
    _current.epoch = epoch
