"""Splits: disjoint, of the right sizes, stratified, and never through a group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker.data import Arrays
from stoker.data.splits import split_indices
from stoker.errors import ArgumentError

LABELS = np.array(["cat"] * 70 + ["dog"] * 20 + ["eel"] * 10)
fractions = st.sampled_from([(0.9,), (0.5,), (0.7, 0.2, 0.1), (0.3, 0.3), (1.0,), (0.25, 0.25, 0.25, 0.25)])


def arrays(**columns: Any) -> Arrays:
    return Arrays(x=torch.arange(100), **columns)


@given(fractions, st.integers(0, 300), st.integers(0, 5), st.integers(0, 99))
def test_stratified_parts_have_their_share_of_every_class(
    parts: tuple[float, ...], length: int, num_classes: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, num_classes + 1, length)
    found = split_indices(length, parts, seed, labels, None)
    plain = split_indices(length, parts, seed, None, None)
    assert [len(part) for part in found] == [len(part) for part in plain], "sizes are those of an ordinary split"
    together = np.concatenate(found)
    assert len(np.unique(together)) == len(together), "parts are disjoint"
    for number, (part, fraction) in enumerate(zip(found, (*parts, 1 - parts[0]), strict=False)):
        for label in np.unique(labels):
            share = fraction * (labels == label).sum()
            assert abs((labels[part] == label).sum() - share) < (1.5 if number == 0 else 3)


@given(fractions, st.integers(1, 300), st.integers(1, 60), st.booleans(), st.integers(0, 99))
def test_no_group_is_cut(parts: tuple[float, ...], length: int, num_groups: int, stratified: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(0, num_groups, length), rng.integers(0, 2, length)
    found = split_indices(length, parts, seed, labels if stratified else None, groups)
    seen: list[set[int]] = [set(groups[part].tolist()) for part in found]
    assert sum(map(len, seen)) == len(set().union(*seen))
    largest = int(np.bincount(groups).max())
    if not stratified:
        for part, fraction in zip(found, parts, strict=False):
            assert abs(len(part) - fraction * length) <= largest * len(parts) + 1


def test_groups_are_stratified_as_well_as_whole_groups_allow() -> None:
    groups = np.arange(1000) // 10
    labels = (groups % 4 == 0).astype(int)  # a quarter of the groups
    train, test = split_indices(1000, (0.8,), 3, labels, groups)
    assert (len(train), labels[train].mean()) == (800, 0.25)
    assert (len(test), labels[test].mean()) == (200, 0.25)


def test_a_dataset_is_split_by_a_column_or_an_array() -> None:
    codes = torch.from_numpy(np.unique(LABELS, return_inverse=True)[1])
    train, test = arrays(label=codes).split(0.9, seed=1, stratify="label")
    by_array = arrays().split(0.9, seed=1, stratify=LABELS)
    assert np.bincount([int(test[i][1]) for i in range(10)]).tolist() == [7, 2, 1]
    assert [int(test[i][0]) for i in range(10)] == [int(by_array[1][i]) for i in range(10)]
    assert len(train) == 90
    again = train.split(0.5, seed=1, group=torch.arange(90).numpy() // 45)
    assert [len(part) for part in again] == [45, 45]


def test_parts_never_change() -> None:
    # Another version that split otherwise would train on what an older one tested on.
    assert split_indices(100, (0.9,), 1, None, None)[1].tolist() == [0, 7, 35, 44, 66, 72, 77, 81, 89, 94]
    assert split_indices(100, (0.9,), 1, LABELS, None)[1].tolist() == [1, 3, 8, 14, 42, 44, 65, 70, 83, 96]
    assert split_indices(100, (0.9,), 1, LABELS, np.arange(100) // 3)[1].tolist() == [
        12,
        13,
        14,
        39,
        40,
        41,
        78,
        79,
        80,
        99,
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"stratify": "label"}, "stratify must be a column of the dataset, which has x, or an array; got 'label'"),
        ({"group": [1, 2]}, r"group must have one value for each of 100 samples; got shape \(2,\)"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        arrays().split(0.9, **arguments)
