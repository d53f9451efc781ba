"""Which samples each class has, and shuffled passes over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stoker.order.keys import GOLDEN, mix64_array

_PASS_BITS = 32


class ClassTable:
    """The samples of each class, sorted by class. Immutable, thread-safe.

    Attributes:
        codes: the classes that there are, ascending; a class is named by its place in here below.
        counts: samples of each class; int64 [num_classes], none 0.
    """

    def __init__(self, labels: NDArray[np.int64], samples: NDArray[np.int64] | None) -> None:
        """`labels`, one for each of `samples` (of all samples from 0 on, where None)."""
        by_class = np.argsort(labels, kind="stable")
        self.codes, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
        self.counts = counts.astype(np.int64)
        self._starts = starts.astype(np.int64)
        self._members = (by_class if samples is None else samples[by_class]).astype(np.int64)

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    def occurrences(self, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each element of `classes` stood in it before; int64 of the same length."""
        by_class = np.argsort(classes, kind="stable")
        first = np.searchsorted(classes[by_class], np.arange(self.num_classes))
        seen = np.empty(len(classes), np.int64)
        seen[by_class] = np.arange(len(classes)) - first[classes[by_class]]
        return seen

    def draw(self, classes: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """A sample of each of `classes`: each class's in shuffled passes, every one once in a pass."""
        passes, offsets = np.divmod(self.occurrences(classes), self.counts[classes])
        return self.pick(classes, passes, offsets, key)

    def pick(
        self, classes: NDArray[np.int64], passes: NDArray[np.int64], offsets: NDArray[np.int64], key: int
    ) -> NDArray[np.int64]:
        """The samples at `offsets` of shuffled passes over classes; int64 of the same length. All passes up to the last are shuffled."""
        num_passes = np.zeros(self.num_classes, np.int64)
        np.maximum.at(num_passes, classes, passes + 1)
        first_group = np.cumsum(num_passes) - num_passes
        owners = np.repeat(np.arange(self.num_classes), num_passes)
        numbers = np.arange(len(owners)) - first_group[owners]
        words = (owners.astype(np.uint64) << np.uint64(_PASS_BITS)) | numbers.astype(np.uint64)
        sizes = self.counts[owners]
        shuffled = shuffle_groups(sizes, mix64_array(mix64_array(words) ^ np.uint64(key)))
        starts = np.cumsum(sizes) - sizes
        within = shuffled[starts[first_group[classes] + passes] + offsets]
        samples: NDArray[np.int64] = self._members[self._starts[classes] + within]
        return samples


def shuffle_groups(sizes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A permutation of ``range(size)`` for each group, decided by its key, one after the other; int64 [sizes.sum()]."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    values = mix64_array(mix64_array(within.astype(np.uint64) + np.uint64(GOLDEN)) ^ keys[groups])
    shuffled: NDArray[np.int64] = within[np.lexsort((values, groups))].astype(np.int64)
    return shuffled
