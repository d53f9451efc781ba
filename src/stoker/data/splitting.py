"""Disjoint parts of a dataset: at random, with every class in proportion, with groups kept together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.permutation import Permutation


def split_indices(
    length: int, fractions: Sequence[float], seed: int, labels: Any = None, groups: Any = None
) -> list[NDArray[np.int64]]:
    """The samples of each part, ascending. A pure function of its arguments.

    Args:
        length: of the dataset.
        fractions: of the parts; one below 1 means two parts, of it and of the rest.
        seed: decides alone.
        labels: the class of each sample [length]. Then every part holds every class in proportion: of two parts to
            within one sample. The parts' sizes stay what they are without.
        groups: the group of each sample [length]. A group is in one part alone, so sizes are as close as groups allow.

    Raises:
        ArgumentError: the fractions are not positive or add up to more than 1; labels or groups are not one for each
            sample; a group has several labels.
    """
    if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        said = ", ".join(map(str, fractions)) or "none"
        raise ArgumentError(f"split needs positive fractions that add up to 1 at most; got {said}.")
    parts = (*fractions, 1 - fractions[0]) if len(fractions) == 1 and fractions[0] < 1 else fractions
    cuts = np.cumsum(parts)
    shuffled = Permutation(length, seed)(np.arange(length, dtype=np.int64))
    ends = np.round(cuts * length).astype(np.int64)
    if labels is None and groups is None:
        part_of = _parts(np.arange(length), ends)
    else:
        classes = np.zeros(length, np.int64) if labels is None else _numbers(labels, length, "stratify")[shuffled]
        if groups is None:
            part_of = _stratified(classes, np.diff(ends, prepend=0))
        else:
            part_of = _grouped(classes, _numbers(groups, length, "group")[shuffled], cuts)
    return [np.sort(shuffled[part_of == part]) for part in range(len(parts))]


def values_of(dataset: Any, column: Any) -> Any:
    """The values of all samples of a `stoker.data.Dataset` in a column, given by name; what is no name is them already.

    Reads every sample where the source does not know them without.

    Raises:
        ArgumentError: there is no such column, or its values are arrays or images.
    """
    if not isinstance(column, str):
        return column
    if column not in dataset.columns:
        raise ArgumentError(f"split needs a column of the dataset, {', '.join(dataset.columns)}; got {column!r}.")
    known = dataset.known_column(column)
    if known is not None:
        return known
    place = dataset.columns.index(column)
    values = [dataset.finish(column, dataset.read(index)[place]) for index in range(len(dataset))]
    if any(np.ndim(value) for value in values):
        raise ArgumentError(f"split needs a column of single values; {column!r} holds arrays.")
    return np.array([value.item() if isinstance(value, torch.Tensor) else value for value in values])


def _parts(positions: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.int64]:
    """The part of each position, where the parts end at `ends`; the number of parts for what is left out."""
    return np.searchsorted(ends, positions, "right")


def _numbers(values: Any, length: int, argument: str) -> NDArray[np.int64]:
    """The number of each value among the different ones."""
    array = np.asarray(values)
    if array.shape != (length,):
        raise ArgumentError(
            f"{argument} must be a column of the dataset, or one value for each of its {length} samples; "
            f"got shape {list(array.shape)}."
        )
    return np.unique(array, return_inverse=True)[1]


def _stratified(classes: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each sample: part after part takes of each class its share of what is left.

    Shares are differences of one rounded running sum, so that they add up to the part's size, and each is within one
    sample of its exact value.
    """
    part_of = np.full(len(classes), len(sizes), np.int64)
    left = np.argsort(classes, kind="stable")
    for part, size in enumerate(sizes.tolist()):
        if not len(left):
            break
        of_left = classes[left]
        ends = np.cumsum(np.bincount(of_left, minlength=int(classes.max()) + 1))
        shares = np.diff((ends * size + len(left) // 2) // len(left), prepend=0)
        starts = np.concatenate([[0], ends[:-1]])
        taken = np.arange(len(left)) - starts[of_left] < shares[of_left]
        part_of[left[taken]] = part
        left = left[~taken]
    return part_of


def _grouped(classes: NDArray[np.int64], groups: NDArray[np.int64], cuts: NDArray[np.float64]) -> NDArray[np.int64]:
    """The part of each sample: groups behind each other, in the order in which they first come, each where its middle is."""
    part_of = np.empty(len(classes), np.int64)
    _, first = np.unique(groups, return_index=True)
    if (classes != classes[first][groups]).any():
        several = np.flatnonzero(classes != classes[first][groups])[0]
        alike = np.flatnonzero(groups == groups[several])
        raise ArgumentError(
            "to stratify and to keep groups together, all samples of a group must have one label; a group of "
            f"{len(alike)} samples has {len(np.unique(classes[alike]))}. Leave one of the two out."
        )
    for members in _members(classes):
        _, first, inverse, sizes = np.unique(
            groups[members], return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(first)
        middles = np.empty(len(order))
        middles[order] = np.cumsum(sizes[order]) - sizes[order] / 2
        part_of[members] = _parts(middles, cuts * len(members))[inverse]
    return part_of


def _members(classes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of each class, ascending."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(classes))[:-1]) if len(classes) else []
