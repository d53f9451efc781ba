"""Mixtures of several datasets, by weight or by temperature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.alias import integer_weights
from stoker.order.keys import derive
from stoker.order.orders import BaseOrder, Order, ShuffledOrder
from stoker.order.over import digest, domain_of, take_stream
from stoker.order.permutation import Permutation
from stoker.order.weighted import checked_length

_BLOCK = 1 << 16
"""Positions over which every dataset has its exact share."""
_MIXTURE, _PART = 0x4D495854, 0x50415254


class MixtureOrder(BaseOrder):
    """Samples of several datasets in given proportions, each going through epochs of its own. Memory: one block of 65,536 positions.

    The indices are those of torch's ConcatDataset of the datasets: the first one's come first. In every 65,536 positions
    of the endless stream each dataset has its exact share, in shuffled order, so shares are rounded to 1/65,536 (and to
    no less than one). A dataset's samples come in the order of its own, all once before any comes again: a small dataset
    begins its next epoch, shuffled anew, while a large one is still in its first, and both go on where this order's epochs end.

    Args:
        parts: for each dataset its order, or its length, which stands for a shuffled order.
        seed: decides the mixing, and the order of parts that are given as lengths.
        weights: the share of each dataset; positive. Their sizes where not given.
        temperature: instead of weights, shares in proportion to ``size ** (1 / temperature)``: 1 is by size, more is more even.
        length: positions per epoch; all sizes together where not given.
        sizes: how many samples each dataset has, where an order does not know that (a subset by indices).
        names: of the datasets, for `expected_counts`; "0", "1" … where not given.

    Raises:
        ArgumentError: a weight is not positive, an order is empty, a size is not known, or numbers of parts differ.
    """

    def __init__(
        self, parts: Sequence[Order | int], *, seed: int, weights: Sequence[float] | None = None,
        temperature: float | None = None, length: int | None = None, sizes: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self._parts = [
            ShuffledOrder(part, derive(seed, _PART, number)) if isinstance(part, int) else part
            for number, part in enumerate(parts)
        ]
        known = sizes if sizes is not None else [_size(part, number) for number, part in enumerate(self._parts)]
        self._names = list(names) if names is not None else [str(number) for number in range(len(parts))]
        _check(self._parts, known, self._names)
        shares = _shares(known, weights, temperature)
        self._shares = integer_weights(shares, _BLOCK)
        self._share_tuple = tuple(self._shares.tolist())
        self._offsets = np.cumsum([0, *known])
        self._length = checked_length(length, int(self._offsets[-1]))
        self._seed = seed

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        blocks, offsets = np.divmod(positions + epoch * self._length, _BLOCK)
        datasets, stream = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        for block in np.unique(blocks).tolist():
            mine = blocks == block
            which, ranks = _mixed_block(self._share_tuple, derive(self._seed, _MIXTURE, block))
            datasets[mine] = which[offsets[mine]]
            stream[mine] = ranks[offsets[mine]] + block * self._shares[datasets[mine]]
        samples = np.empty(len(positions), np.int64)
        for number in np.unique(datasets).tolist():
            mine = datasets == number
            samples[mine] = take_stream(self._parts[number], stream[mine]) + self._offsets[number]
        return samples

    @property
    def domain(self) -> int | None:
        return int(self._offsets[-1])

    def expected_counts(self) -> dict[str, float]:
        return {
            name: float(share) / _BLOCK * self._length for name, share in zip(self._names, self._shares, strict=True)
        }

    def describe(self) -> dict[str, Any]:
        parts = repr([part.describe() for part in self._parts]).encode()
        return {
            "name": "mixture", "parts": digest(np.frombuffer(parts, np.uint8)), "shares": digest(self._shares),
            "length": self._length, "seed": self._seed,
        }  # fmt: skip


@lru_cache(maxsize=8)
def _mixed_block(shares: tuple[int, ...], key: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(which dataset, how many of its samples the block had before) for each position of a block."""
    counts = np.array(shares, np.int64)
    datasets = np.repeat(np.arange(len(counts)), counts)[Permutation(_BLOCK, key)(np.arange(_BLOCK))]
    ranks = np.empty(_BLOCK, np.int64)
    ranks[np.argsort(datasets, kind="stable")] = np.arange(_BLOCK) - np.repeat(np.cumsum(counts) - counts, counts)
    datasets.flags.writeable = ranks.flags.writeable = False  # they are shared by everybody who asks for them
    return datasets, ranks


def _size(part: Order, number: int) -> int:
    size = domain_of(part)
    if size is None:
        raise ArgumentError(f"part {number} does not know how many samples its dataset has; give sizes=[...].")
    return size


def _check(parts: Sequence[Order], sizes: Sequence[int], names: Sequence[str]) -> None:
    if not parts or not len(parts) == len(sizes) == len(names):
        raise ArgumentError(
            f"a mixture needs at least one part, and a size and a name for each; got {len(parts)} parts, {len(sizes)} "
            f"sizes, {len(names)} names."
        )
    empty = [name for part, name in zip(parts, names, strict=True) if not len(part)]
    if empty:
        raise ArgumentError(f"every part of a mixture must have samples; there is none in {', '.join(empty)}.")


def _shares(sizes: Sequence[int], weights: Sequence[float] | None, temperature: float | None) -> NDArray[np.float64]:
    if weights is not None and temperature is not None:
        raise ArgumentError("a mixture is by weights or by temperature; got both.")
    if temperature is not None and not temperature > 0:
        raise ArgumentError(f"temperature must be positive; got {temperature}.")
    if weights is None:
        power = 1.0 if temperature is None else 1 / temperature
        top = max(sizes)
        return np.array([(size / top) ** power for size in sizes])
    shares = np.asarray(weights, np.float64)
    if shares.shape != (len(sizes),) or not (shares > 0).all():
        raise ArgumentError(f"weights must be one positive number for each of {len(sizes)} parts; got {list(weights)}.")
    return shares
