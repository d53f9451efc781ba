"""Splitting a dataset: which samples each part gets. Integer arithmetic, decided by the seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive, mix64_array
from stoker.order.permutation import Permutation

_STRATA, _GROUPS = 0x53545241, 0x47524F55


def split_indices(
    length: int, fractions: tuple[float, ...], seed: int, stratify: NDArray[Any] | None, group: NDArray[Any] | None
) -> list[NDArray[np.int64]]:
    """The samples of each part, ascending; one part more where a single fraction is less than 1.

    Without `stratify` and `group` a part has its fraction of the samples, rounded. With `stratify` too, and its fraction
    of every class, within one sample for the first part and two for others. With `group`, all samples of a group are in
    one part, and sizes are as near to the fractions as whole groups allow.

    Raises:
        ArgumentError: the fractions are not positive or add up to more than 1, or an array has not `length` elements.
    """
    if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ArgumentError(
            f"split needs positive fractions that add up to 1 at most; got {', '.join(map(str, fractions)) or 'none'}."
        )
    parts = (*fractions, 1 - fractions[0]) if len(fractions) == 1 and fractions[0] < 1 else fractions
    ends = np.round(np.cumsum(parts) * length).astype(np.int64)
    sizes = np.diff(ends, prepend=0)
    classes = None if stratify is None else _codes("stratify", stratify, length)
    if group is not None:
        numbers = _by_group(_codes("group", group, length), classes, sizes, seed)
    elif classes is not None:
        numbers = _by_class(classes, sizes, seed)
    else:
        shuffled = Permutation(length, seed)(np.arange(length, dtype=np.int64))
        return [np.sort(chosen) for chosen in np.split(shuffled, ends)[:-1]]
    return [np.flatnonzero(numbers == part).astype(np.int64) for part in range(len(parts))]


def _codes(name: str, values: NDArray[Any], length: int) -> NDArray[np.int64]:
    if values.shape != (length,):
        raise ArgumentError(f"{name} must have one value for each of {length} samples; got shape {values.shape}.")
    codes: NDArray[np.int64] = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return codes


def _by_class(classes: NDArray[np.int64], sizes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The part of each sample, -1 for none.

    Samples are sorted by class, shuffled inside, and dealt evenly along that line (Bresenham's: of n, those where
    ``j * size // n`` steps), so that any stretch of it, such as a class, has its share. What a part does not get is the
    line of the next.
    """
    line = np.lexsort((Permutation(len(classes), derive(seed, _STRATA))(np.arange(len(classes))), classes))
    numbers = np.full(len(classes), -1, np.int64)
    for part, size in enumerate(sizes.tolist()):
        steps = np.diff(np.arange(len(line) + 1, dtype=np.int64) * size // max(1, len(line)))
        numbers[line[steps == 1]] = part
        line = line[steps == 0]
    return numbers


def _by_group(
    groups: NDArray[np.int64], classes: NDArray[np.int64] | None, sizes: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """The part of each sample, -1 for none: groups, the largest first, each go where most is still missing of what they bring.

    Greedy, as scikit-learn's StratifiedGroupKFold, by the shortage of each class relative to what the part is to have.
    """
    codes = np.zeros(len(groups), np.int64) if classes is None else classes
    num_groups, num_classes = int(groups.max(initial=-1)) + 1, int(codes.max(initial=-1)) + 1
    table = np.bincount(groups * num_classes + codes, minlength=num_groups * num_classes)
    table = table.reshape(num_groups, num_classes)
    wanted = np.concatenate([sizes, [max(0, len(groups) - int(sizes.sum()))]])  # the last stands for no part
    total = table.sum(axis=0)
    missing = wanted[:, None] * (total / max(1, len(groups)))
    ties = mix64_array(np.arange(num_groups, dtype=np.uint64) ^ np.uint64(derive(seed, _GROUPS)))
    part_of = np.empty(num_groups, np.int64)
    for number in np.lexsort((ties, -table.sum(axis=1))).tolist():
        row = table[number]
        gain = np.square(missing) - np.square(missing - row)  # how much nearer each part would be to what it is to have
        part = int((gain / np.maximum(1, total)).sum(axis=1).argmax())
        part_of[number] = part
        missing[part] -= row
    part_of[part_of == len(sizes)] = -1
    return part_of[groups]
