"""Length bucketing: batches of samples that are about equally long, so that little is padded."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.orders import BaseOrder, Order
from stoker.order.over import Plans, as_order, candidates, counts_of, digest, domain_of, per_sample
from stoker.order.permutation import Permutation

_BUCKETS = 0x4255434B


class LengthBucketedOrder(BaseOrder):
    """An order's samples, so that those of one batch have similar lengths: windows of it are sorted, and their batches shuffled.

    Every sample of the order comes as often as there, and at most a window away from its place. A table of lengths; one
    window is sorted at a time.

    Args:
        over: the order (a shuffled one, for training), or the dataset's length.
        lengths: the length of each sample of the dataset, by index; whole numbers.
        batch_size: rows of a batch over all ranks: the loader's batch_size times their number.
        seed: decides the order of a window's batches.
        window_batches: how many batches are sorted together. More pad less and mix less.

    Raises:
        ArgumentError: a size is less than 1, or the number of lengths is not that of the samples.
    """

    def __init__(
        self, over: Order | int, lengths: Any, batch_size: int, *, seed: int, window_batches: int = 100
    ) -> None:
        self._over = as_order(over)
        self._lengths = check_lengths(lengths, self._over)
        if batch_size < 1 or window_batches < 1:
            raise ArgumentError(
                f"batch_size and window_batches must be at least 1; got {batch_size} and {window_batches}."
            )
        self._batch_size, self._window = batch_size, batch_size * window_batches
        self._seed = seed
        self._windows: Plans[NDArray[np.int64]] = Plans(self._sorted)  # by window of the endless stream

    def _sorted(self, number: int) -> NDArray[np.int64]:
        epoch, window = divmod(number, self._num_windows)
        start = window * self._window
        samples = self._over.indices(epoch, start, min(start + self._window, len(self)))
        full = len(samples) // self._batch_size * self._batch_size
        rest = samples[full:]  # an epoch's last batch is its short one
        by_length = samples[:full][np.argsort(self._lengths[samples[:full]], kind="stable")].reshape(
            -1, self._batch_size
        )
        batches = Permutation(len(by_length), derive(self._seed, _BUCKETS, epoch, window))
        return np.concatenate([by_length[batches(np.arange(len(by_length)))].reshape(-1), rest])

    @property
    def _num_windows(self) -> int:
        return max(1, -(-len(self) // self._window))

    def __len__(self) -> int:
        return len(self._over)

    def at(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        numbers, offsets = np.divmod(positions, self._window)
        samples = np.empty(len(positions), np.int64)
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            samples[mine] = self._windows(epoch * self._num_windows + number)[offsets[mine]]
        return samples

    @property
    def domain(self) -> int | None:
        return len(self._lengths)

    def expected_counts(self) -> dict[str, float]:
        return counts_of(self._over)

    @cached_property
    def _digest(self) -> str:
        return digest(self._lengths)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "length-bucketed", "over": self._over.describe(), "lengths": self._digest, "seed": self._seed,
            "batch_size": self._batch_size, "window": self._window,
        }  # fmt: skip


def check_lengths(lengths: Any, over: Order) -> NDArray[np.int64]:
    """`lengths` as int64, one for each sample of the dataset. Raises ArgumentError where they are not whole numbers from 0 on."""
    array = per_sample("lengths", lengths, over)
    if array.dtype.kind not in "iu":
        raise ArgumentError(f"lengths must be whole numbers; got {array.dtype}.")
    if array.size and int(array.min()) < 0:
        raise ArgumentError(f"lengths must be at least 0; got {array.min()} for sample {int(array.argmin())}.")
    if domain_of(over) is None:
        candidates("lengths", len(array), over, 0)
    return array.astype(np.int64)
