"""Ragged batches hold the sequences, end to end, and become torch's nested tensors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.batch import Ragged, ragged


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from([(), (3,)]))
@settings(max_examples=60, deadline=None)
def test_the_sequences_are_in_it(lengths: list[int], inner: tuple[int, ...]) -> None:
    samples = [torch.rand(length, *inner) for length in lengths]
    batch = ragged()(samples)
    assert (len(batch), batch.lengths.tolist(), batch.values.shape) == (len(lengths), lengths, (sum(lengths), *inner))
    for number, sample in enumerate(samples):
        assert torch.equal(batch[number], sample)
        assert torch.equal(batch.unbind()[number], sample)
    assert torch.equal(batch[-1], samples[-1])
    with pytest.raises(IndexError):
        batch[len(lengths)]


def test_other_fields_go_to_torch() -> None:
    batch = ragged()([{"words": [1, 2], "label": 5}, {"words": np.array([3]), "label": 6}])
    assert batch["words"].values.tolist() == [1, 2, 3]
    assert batch["words"].offsets.tolist() == [0, 2, 3]
    assert batch["label"].tolist() == [5, 6]


def test_nested_tensors() -> None:
    samples = [torch.rand(2, 3), torch.rand(0, 3), torch.rand(4, 3)]
    nested = ragged(nested=True)(samples)
    assert nested.layout is torch.jagged
    assert nested.shape[0] == 3
    assert all(torch.equal(part, sample) for part, sample in zip(nested.unbind(), samples, strict=True))
    assert torch.equal(nested.sin().values(), torch.cat(samples).sin())
    plain = ragged()(samples)
    plain.nested().values().zero_()
    assert not plain.values.any(), "it shares the memory"


def test_it_moves_and_pickles() -> None:
    batch = ragged()([[1, 2], [3]])
    assert torch.equal(batch.to("cpu").values, batch.values)
    assert batch.to("meta").offsets.is_meta
    again = pickle.loads(pickle.dumps(batch))
    assert isinstance(again, Ragged)
    assert again[1].tolist() == [3]
    assert pickle.loads(pickle.dumps(ragged(fields=["x"]))) == ragged(fields=["x"])


def test_memory_is_private() -> None:
    sample = torch.ones(3)
    ragged()([sample]).values.zero_()
    assert sample.sum() == 3


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"dimension 0 alone; sample 0 has the shape \[1, 2\], sample 1 \[1, 3\]"):
        ragged()([torch.zeros(1, 2), torch.zeros(1, 3)])
    with pytest.raises(ValueError, match="fields names y, but samples have the fields x"):
        ragged(fields=["y"])([{"x": [1]}])
    with pytest.raises(ValueError, match="fields must be a collection"):
        ragged(fields="x")
