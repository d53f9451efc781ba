"""Splits: at random, with every class in proportion, with groups kept together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stoker
from stoker.data import Arrays, Dataset
from stoker.data.splitting import split_indices

fractions = st.lists(st.floats(0.01, 1), min_size=1, max_size=4).map(
    lambda parts: [part / sum(parts) for part in parts]
)


def ids(part: Dataset) -> list[int]:
    return [int(part[index][0]) for index in range(len(part))]


@given(st.lists(st.integers(0, 4), max_size=60), fractions, st.integers(0, 1 << 60))
def test_every_part_holds_every_class_in_proportion(labels: list[int], parts: list[float], seed: int) -> None:
    array = np.array(labels, np.int64)
    split = split_indices(len(labels), parts, seed, array)
    plain = split_indices(len(labels), parts, seed)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(labels)))
    for members, fraction, other in zip(split, parts, plain, strict=True):
        assert len(members) == len(other)
        assert (np.diff(members) > 0).all()
        for label in set(labels):
            share = (array[members] == label).sum() - fraction * (array == label).sum()
            assert abs(share) < len(
                parts
            )  # the part's size is rounded, and each part's share of what those before it left


@given(st.lists(st.integers(0, 9), max_size=60), fractions, st.integers(0, 99), st.booleans())
def test_groups_stay_together(groups: list[int], parts: list[float], seed: int, stratified: bool) -> None:
    array = np.array(groups, np.int64)
    labels = array % 2 if stratified else None
    split = split_indices(len(groups), parts, seed, labels, array)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(groups)))
    found = [set(array[part].tolist()) for part in split]
    assert sum(map(len, found)) == len(set(groups))
    largest = max(np.bincount(array).max(), 1) if groups else 1
    strata = 2 if stratified else 1
    for part, fraction in zip(split, parts, strict=True):
        assert abs(len(part) - fraction * len(groups)) <= strata * largest + 1e-6


def test_a_split_is_decided_by_its_seed_for_good() -> None:
    labels, groups = np.arange(12) % 3, np.arange(12) // 2
    assert [part.tolist() for part in split_indices(12, [0.75], 1)] == GOLDEN[0]
    assert [part.tolist() for part in split_indices(12, [0.75], 1, labels)] == GOLDEN[1]
    assert [part.tolist() for part in split_indices(12, [0.75], 1, None, groups)] == GOLDEN[2]


GOLDEN = [
    [[0, 1, 3, 4, 5, 6, 8, 9, 10], [2, 7, 11]],
    [[0, 1, 2, 3, 4, 5, 8, 9, 10], [6, 7, 11]],
    [[0, 1, 2, 3, 4, 5, 8, 9], [6, 7, 10, 11]],
]


def test_columns_are_given_by_name_or_by_value(tmp_path: Path) -> None:
    patient, healthy = np.repeat(np.arange(20), 5), np.repeat(np.arange(20) % 2, 5)
    dataset = Arrays(id=np.arange(100), patient=patient, healthy=healthy, picture=np.zeros((100, 2)))
    train, test = dataset.split(0.8, seed=3, stratify="healthy", group="patient")
    assert [healthy[ids(part)].sum() for part in (train, test)] == [40, 10]
    assert not set(patient[ids(train)]) & set(patient[ids(test)])
    assert ids(dataset.split(0.8, seed=3, stratify=healthy, group=patient)[0]) == ids(train)
    inner, _ = train.split(0.5, stratify=[str(value) for value in healthy[ids(train)]])
    assert healthy[ids(inner)].sum() == 20
    doubled = dataset.map(healthy=lambda value: value * 0)
    assert ids(doubled.split(0.5, stratify="healthy")[0]) == ids(dataset.split(0.5, stratify=np.zeros(100))[0])


def test_labels_that_a_source_knows_are_not_read(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "files" / "ab"[number % 2] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros(2))
    dataset = stoker.open(tmp_path / "files")
    for path in tmp_path.glob("files/*/*.npy"):
        path.unlink()
    part = dataset.map(array=lambda array: array).split(0.5, stratify="label")[0].split(0.5, stratify="label")[0]
    labels = part.known_column("label")
    assert labels is not None
    assert sorted(labels.tolist()) in ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"stratify": "nothing"}, r"split needs a column of the dataset, id, wide; got 'nothing'"),
        ({"group": "wide"}, r"split needs a column of single values; 'wide' holds arrays"),
        ({"stratify": [1, 2]}, r"stratify must be a column .*one value for each of its 6 samples; got shape \[2\]"),
        (
            {"stratify": [0, 1, 0, 0, 0, 0], "group": [0, 0, 1, 1, 2, 2]},
            r"all samples of a group must have one label; a group of 2 samples has 2\. Leave one",
        ),
    ],
)
def test_what_cannot_be_split_by(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(stoker.ArgumentError, match=text):
        Arrays(id=np.arange(6), wide=np.zeros((6, 2))).split(0.5, **arguments)
