"""Padding: what goes in comes out, lengths and masks agree, and mistakes are named."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate

from stoker.batch import pad, unpad

DTYPES = [torch.int64, torch.float32, torch.uint8, torch.bool, torch.bfloat16, torch.complex64]


class Pair(NamedTuple):
    text: Any
    label: Any


@st.composite
def batches(draw: st.DrawFn) -> list[torch.Tensor]:
    dtype, inner = draw(st.sampled_from(DTYPES)), draw(st.sampled_from([(), (2,), (0,), (2, 3)]))
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    return [torch.randint(1, 2 if dtype is torch.bool else 99, (length, *inner)).to(dtype) for length in lengths]


@given(batches(), st.integers(1, 5), st.sampled_from(["left", "right"]))
@settings(max_examples=80, deadline=None)
def test_padded_then_unpadded_samples_are_what_they_were(samples: list[torch.Tensor], multiple: int, side: str) -> None:
    padded, lengths, mask = pad(multiple=multiple, side=side, lengths=True, masks=True)(samples)
    assert padded.dtype is samples[0].dtype
    assert padded.shape[1] % multiple == 0
    assert padded.shape[1] - int(lengths.max()) < max(multiple, 1) or not int(lengths.max())
    assert lengths.tolist() == list(map(len, samples))
    parts = unpad(padded, lengths, side)
    assert all(torch.equal(part, sample) for part, sample in zip(parts, samples, strict=True))
    assert torch.equal(mask.sum(1), lengths)
    assert torch.equal(padded[mask], torch.cat(samples)), "the mask is True where there is data, and only there"
    assert not padded[~mask].any(), "the rest is the fill value"


@pytest.mark.parametrize("convert", [lambda x: x, np.asarray, lambda x: np.asarray(x, ">i8"), torch.tensor])
def test_lists_arrays_and_tensors_pad_alike(convert: Any) -> None:
    padded = pad(fill=-1)([convert([1, 2, 3]), convert([4]), convert([5, 6])])
    assert padded.dtype is torch.int64
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]


def test_a_list_of_floats_is_what_torch_makes_of_it_and_an_empty_one_says_nothing() -> None:
    assert pad()([[0.5], [], [1.5, 2.5]]).dtype is torch.tensor([0.5]).dtype
    assert pad()([[], [1, 2]]).dtype is torch.int64


def test_dtypes_are_promoted_as_torch_does() -> None:
    padded = pad()([torch.tensor([1, 2]), np.array([0.5], np.float32), torch.tensor([0.25], dtype=torch.bfloat16)])
    assert padded.dtype is torch.float32
    assert padded.tolist() == [[1, 2], [0.5, 0], [0.25, 0]]


def test_fields_have_fill_values_of_their_own_and_others_are_collated_by_torch() -> None:
    samples = [
        {"ids": [1, 2], "labels": np.array([7, 8]), "name": "a", "weight": 0.5},
        {"ids": [3], "labels": np.array([9]), "name": "b", "weight": 2.0},
    ]
    batch = pad(fill={"labels": -100}, multiple=4, masks={"ids": "attention_mask"})(samples)
    assert list(batch) == ["ids", "labels", "name", "weight", "attention_mask"]
    assert batch["ids"].tolist() == [[1, 2, 0, 0], [3, 0, 0, 0]]
    assert batch["labels"].tolist() == [[7, 8, -100, -100], [9, -100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[True, True, False, False], [True, False, False, False]]
    plain = default_collate([{"name": sample["name"], "weight": sample["weight"]} for sample in samples])
    assert batch["name"] == plain["name"]
    assert torch.equal(batch["weight"], plain["weight"])


def test_structures() -> None:
    words = [torch.ones(2), torch.ones(3)]
    as_tuples = pad(lengths=True)([(words[0], 5), (words[1], 6)])
    assert [part.tolist() for part in as_tuples] == [[[1, 1, 0], [1, 1, 1]], [5, 6], [2, 3]]
    as_lists = pad()([[words[0], torch.tensor(5)], [words[1], torch.tensor(6)]])
    assert [part.shape for part in as_lists] == [(2, 3), (2,)]
    named = [Pair(words[0], 5), Pair(words[1], 6)]
    assert pad()(named).label.tolist() == [5, 6]
    assert type(pad()(named)) is Pair
    grown = pad(lengths=["text"], masks=["text"])(named)
    assert list(grown) == ["text", "label", "text_lengths", "text_mask"]


def test_only_the_fields_asked_for_are_padded() -> None:
    batch = pad(fields=["ids"], multiple=8)([{"ids": [1], "point": np.zeros(3)}, {"ids": [1, 2], "point": np.ones(3)}])
    assert batch["ids"].shape == (2, 8)
    assert batch["point"].shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ({"truncate": "end"}, [[1, 2, 3], [9, 0, 0]]),
        ({"truncate": "start"}, [[2, 3, 4], [9, 0, 0]]),
        ({"truncate": "start", "side": "left"}, [[2, 3, 4], [0, 0, 9]]),
    ],
)
def test_what_is_too_long_is_cut(arguments: dict[str, Any], rows: list[list[int]]) -> None:
    padded, lengths = pad(max_length=3, lengths=True, **arguments)([[1, 2, 3, 4], [9]])
    assert padded.tolist() == rows
    assert lengths.tolist() == [3, 1]


def test_one_shape_for_all_batches() -> None:
    collate = pad(max_length=8, multiple=8)
    assert {collate(samples).shape for samples in ([[1], [2]], [[1] * 8, []], [[], []])} == {(2, 8)}


def test_memory_is_private() -> None:
    sample, fixed = torch.ones(3), np.ones(2)
    batch = pad(fields=[0])([(sample, fixed)])
    batch[0].zero_()
    batch[1].zero_()
    assert sample.sum() == 3
    assert fixed.sum() == 2


def test_it_pickles() -> None:
    collate = pad(fill={"x": 2}, multiple=4, masks={"x": "m"})
    assert pickle.loads(pickle.dumps(collate)) == collate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multiple": -1}, r"multiple must be at least 1; got -1"),
        ({"max_length": 0}, r"max_length must be at least 1"),
        ({"max_length": 10, "multiple": 4}, r"a multiple of `multiple`; got 10 and 4"),
        ({"truncate": "end"}, r"truncate needs max_length"),
        ({"truncate": "middle", "max_length": 3}, r"truncate must be 'end', 'start' or None; got 'middle'"),
        ({"side": "top"}, r"side must be 'right' or 'left'; got 'top'"),
        ({"fields": "x"}, r"fields must be a collection of fields, such as \['x'\]; got a str"),
    ],
)
def test_arguments_that_break_a_rule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad(**arguments)


@pytest.mark.parametrize(
    ("arguments", "samples", "message"),
    [
        ({}, [np.zeros((2, 3)), np.zeros((2, 4))], r"their dimension 0 alone; sample 0 has the shape \[2, 3\], sample 1 \[2, 4\]"),
        ({}, [[[1, 2], [3]]], r"sample 0 is a list of lists of different lengths"),
        ({"max_length": 2}, [{"x": [1]}, {"x": [1, 2, 3]}], r"field x: sample 1 of the batch has the length 3, more than max_length=2"),
        ({"fill": {"z": 1}}, [{"x": [1], "y": [2]}], r"fill names z, but samples have the fields x, y"),
        ({"fields": ["z"]}, [{"x": [1], "y": [2]}], r"fields names z, but samples have the fields x, y"),
        ({"masks": ["y"]}, [{"x": [1], "y": 2}], r"masks names y, which is not padded"),
        ({"lengths": {"x": "y"}}, [{"x": [1], "y": 2}], r"samples have a field y already"),
        ({"fields": ["x"]}, [[1]], r"samples are single values"),
        ({"fill": 0.5}, [[1]], r"field 0: torch.int64 cannot hold the fill value 0.5"),
        ({"fill": -1}, [np.ones(2, np.uint8)], r"torch.uint8 cannot hold the fill value -1"),
        ({"fill": None}, [[1]], r"cannot hold the fill value None"),
        ({}, [], r"at least one sample; got none"),
        ({}, [{"x": [1]}, {"y": [1]}], r"sample 0 has x, sample 1: y"),
        ({}, [{"x": [1]}, [1]], r"sample 0 has x, sample 1: list"),
        ({}, [{"x": [1]}, {"x": None}], r"field x must hold a sequence .* sample 1 has NoneType"),
        ({"fields": ["x"]}, [{"x": "text"}], r"field x must hold a sequence .* sample 0 has str"),
    ],
)  # fmt: skip
def test_samples_that_break_a_rule(arguments: dict[str, Any], samples: list[Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        pad(**arguments)(samples)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([1], "a length for each of 2 samples; got 1"), ([1, 4], r"in \[0, 3\]; got 1 to 4"), ([-1, 1], "got -1 to 1")],
)
def test_unpad_checks_lengths(lengths: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpad(torch.zeros(2, 3), lengths)
