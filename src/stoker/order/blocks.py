"""Block shuffle: nearly as random as a full shuffle, while storage is read in long runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import Plans, as_order, counts_of, domain_of, take
from stoker.order.permutation import Permutation

_BLOCKS, _WINDOWS = 0x424C4F43, 0x57494E44


class BlockShuffledOrder(BaseOrder):
    """Every sample once: blocks of neighbours in shuffled order, and rows shuffled within a window of some blocks. O(1) memory.

    Whoever reads one window at a time reads its blocks from end to end, and holds no more than a window.

    Args:
        over: the dataset's length, or the order whose positions are cut into blocks.
        seed: decides the order.
        block_rows: rows that are read together (a chunk of an HDF5 file, a row group, a shard's page).
        window_rows: rows that are shuffled together; rounded up to whole blocks. 16 blocks where nothing is given.
        window_bytes: the same in bytes, of which a sample takes `row_bytes`; rounded down to whole blocks, at least one.

    Raises:
        ArgumentError: a size is less than 1, both windows are given, or bytes without `row_bytes`.
    """

    def __init__(
        self, over: Order | int, seed: int, *, block_rows: int,
        window_rows: int | None = None, window_bytes: int | None = None, row_bytes: float | None = None,
    ) -> None:  # fmt: skip
        self._over = as_order(over)
        self._length = len(self._over)
        self._seed = seed
        self._block = _at_least_one("block_rows", block_rows)
        self._window = self._block * _window_blocks(self._block, window_rows, window_bytes, row_bytes)
        self._num_blocks = -(-self._length // self._block)
        self._last_block = self._length - (self._num_blocks - 1) * self._block if self._length else 0  # may be short
        self._short_slots: Plans[int] = Plans(self._short_slot)

    def __len__(self) -> int:
        return self._length

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        if not positions.size:
            return np.empty(0, np.int64)
        rows = self._shuffled_in_windows(epoch, positions, self._short_slots(epoch))
        slots, offsets = np.divmod(rows, self._block)
        return take(self._over, epoch, self._blocks(epoch)(slots) * self._block + offsets)

    def _blocks(self, epoch: int) -> Permutation:
        return Permutation(self._num_blocks, derive(self._seed, _BLOCKS, epoch))

    def _short_slot(self, epoch: int) -> int:
        """Where the dataset's last block, which may be short, comes in the epoch; after all others where it is not short."""
        if self._last_block == self._block:
            return self._num_blocks
        blocks = self._blocks(epoch)
        last, step = self._num_blocks - 1, 1 << 16
        for start in range(0, self._num_blocks, step):
            found = np.flatnonzero(
                blocks(np.arange(start, min(start + step, self._num_blocks), dtype=np.int64)) == last
            )
            if found.size:
                return start + int(found[0])
        raise AssertionError("a permutation has every element")

    def _shuffled_in_windows(self, epoch: int, positions: NDArray[np.int64], short: int) -> NDArray[np.int64]:
        """Positions -> rows of the sequence of blocks, in which every block is as long as the others."""
        missing = self._block - self._last_block if short < self._num_blocks else 0
        rows = positions + missing * (positions >= short * self._block + self._last_block)
        numbers = rows // self._window
        shuffled = np.empty_like(rows)
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            first = number * self._window
            stop = min(first + self._window, self._num_blocks * self._block)
            holds_short = first <= short * self._block < stop
            size = stop - first - (missing if holds_short else 0)
            begins = first - (missing if short * self._block < first else 0)  # the window's first position
            window = Permutation(size, derive(self._seed, _WINDOWS, epoch, number))
            moved = window(positions[mine] - begins) + begins
            shuffled[mine] = moved + missing * (moved >= short * self._block + self._last_block)
        return shuffled

    @property
    def domain(self) -> int | None:
        return domain_of(self._over)

    def expected_counts(self) -> dict[str, float]:
        return counts_of(self._over)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "block-shuffled", "over": self._over.describe(), "seed": self._seed,
            "block_rows": self._block, "window_rows": self._window,
        }  # fmt: skip


def _window_blocks(block: int, rows: int | None, size_bytes: int | None, row_bytes: float | None) -> int:
    if rows is not None and size_bytes is not None:
        raise ArgumentError("the window is stated in rows or in bytes; got both window_rows and window_bytes.")
    if size_bytes is not None:
        if row_bytes is None or row_bytes <= 0:
            raise ArgumentError(
                f"window_bytes needs row_bytes, the mean size of a sample (mean_sample_bytes of a dataset); got {row_bytes}."
            )
        return max(1, int(_at_least_one("window_bytes", size_bytes) / row_bytes) // block)
    return 16 if rows is None else -(-_at_least_one("window_rows", rows) // block)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ArgumentError(f"{name} must be at least 1; got {value}.")
    return value
