"""A keyed permutation: shuffling without memory.

From 65,536 elements on it is a Feistel network (Luby and Rackoff 1988) over the smallest number of bits that holds
them, with cycle walking (Black and Rogaway 2002): a result beyond the end is put in again until it lies inside, which
takes less than two steps on average because the bits hold less than twice the length. Any element can be had at any
time, in the same few nanoseconds. The number of bits is an integer's `bit_length`: a float logarithm is wrong next to
powers of two.

Below that a small network would be measurably non-uniform, and a table is cheap: the elements in the order of their
keyed 64-bit values, which is a uniform shuffle.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive, mix64_array

TABLE_LIMIT = 65_536
"""Lengths below this are permuted by a table, from it on by a network."""

_NUM_ROUNDS = 8  # docs/decisions/0001-shuffling.md: two can be told from chance, three cannot; eight cost 5 ns more
_MAX_LENGTH = 1 << 62


class Permutation:
    """A bijection on ``[0, length)`` decided by `key`. Pure, thread-safe; O(1) memory from `TABLE_LIMIT` elements on."""

    def __init__(self, length: int, key: int) -> None:
        if not 0 <= length <= _MAX_LENGTH:
            raise ArgumentError(f"length must be between 0 and 2^62; got {length}.")
        self._length = length
        self._key = key
        self._network = _Network(length, key) if length >= TABLE_LIMIT else None

    def __len__(self) -> int:
        return self._length

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of `positions` (int64, any shape, in ``[0, length)``) goes; int64 of the same shape."""
        if self._network is not None:
            return self._network(positions)
        return _table(self._length, self._key)[positions]


@lru_cache(maxsize=8)
def _table(length: int, key: int) -> NDArray[np.int64]:
    values = mix64_array(np.arange(length, dtype=np.uint64) ^ np.uint64(derive(key, length)))
    values = mix64_array(values + np.uint64(derive(key, length, 1)))
    table = np.argsort(values, kind="stable").astype(np.int64)
    table.flags.writeable = False  # it is shared by everybody who asks for it
    return table


_Words = Any
"""An array of uint32 where the bits fit, else of uint64."""


class _Network:
    """The Feistel network with cycle walking. Two halves of the bits take turns in changing each other."""

    def __init__(self, length: int, key: int) -> None:
        bits = (length - 1).bit_length()
        self._length = length
        self._word: type[np.uint32] | type[np.uint64] = np.uint32 if bits <= 32 else np.uint64
        self._low_bits = (bits + 1) // 2
        self._high_bits = bits - self._low_bits
        width = 32 if bits <= 32 else 64
        self._keys = [self._word(derive(key, length, number) >> (64 - width)) for number in range(_NUM_ROUNDS)]
        self._multipliers = (0x85EBCA6B, 0xC2B2AE35) if bits <= 32 else (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        values: _Words = self._permute(positions.astype(self._word))
        outside = values >= self._word(self._length)
        if outside.any():
            walking = np.flatnonzero(outside)
            flat = values.reshape(-1)
            while walking.size:
                moved = self._permute(flat[walking])
                flat[walking] = moved
                walking = walking[moved >= self._word(self._length)]
            values = flat.reshape(values.shape)
        image: NDArray[np.int64] = values.astype(np.int64)
        return image

    def _permute(self, values: _Words) -> _Words:
        """One pass over all bits; a new array."""
        word = self._word
        low = values & word((1 << self._low_bits) - 1)
        high = values >> word(self._low_bits)
        scratch = np.empty_like(low)
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                self._round(low, key, self._high_bits, scratch)
                high ^= scratch
            else:
                self._round(high, key, self._low_bits, scratch)
                low ^= scratch
        high <<= word(self._low_bits)
        high |= low
        return high

    def _round(self, half: _Words, key: _Words, bits: int, out: _Words) -> None:
        """The round function: `bits` well-mixed bits of (half, key). Two multiplications, as in MurmurHash3's finaliser."""
        word = self._word
        width = 32 if word is np.uint32 else 64
        np.bitwise_xor(half, key, out=out)
        out *= word(self._multipliers[0])
        out ^= out >> word(width // 2 - 1)
        out *= word(self._multipliers[1])
        out >>= word(width - bits)
