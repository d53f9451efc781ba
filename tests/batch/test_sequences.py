"""Packed sequences: no token is lost or comes twice, and every way to tell documents apart agrees."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.batch import cu_seqlens, pack_sequences
from stoker.batch.fitting import Packing, plan

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=12)
METHODS = st.sampled_from(["best_fit", "first_fit"])


def documents_of(lengths: list[int]) -> list[torch.Tensor]:
    """Documents in which no token comes twice."""
    return list(torch.arange(1, sum(lengths) + 1).split(lengths))


@given(LENGTHS, st.integers(1, 30), METHODS)
@settings(max_examples=40, deadline=None)
def test_no_token_is_lost_and_none_comes_twice(lengths: list[int], max_length: int, method: str) -> None:
    documents = documents_of(lengths)
    batch = pack_sequences(max_length=max_length, method=method, overlong="split")(documents)
    tokens, ids, positions = batch["tokens"], batch["document_ids"], batch["position_ids"]
    assert tokens.shape == ids.shape == positions.shape == (len(tokens), max_length)
    is_token = ids >= 0
    assert tokens[is_token].sort().values.tolist() == list(range(1, sum(lengths) + 1))
    assert not tokens[~is_token].any()
    assert not positions[~is_token].any()
    for number, document in enumerate(documents):
        pieces = [row[own == number] for row, own in zip(tokens, ids, strict=True) if (own == number).any()]
        pieces.sort(key=lambda piece: int(piece[0]))
        assert torch.equal(torch.cat([*pieces, document[:0]]), document)
        assert all(len(piece) == max_length for piece in pieces[:-1])


@given(LENGTHS, st.integers(1, 30), METHODS)
@settings(max_examples=40, deadline=None)
def test_boundaries_are_those_of_the_document_ids(lengths: list[int], max_length: int, method: str) -> None:
    batch = pack_sequences(max_length=max_length, method=method, overlong="split")(documents_of(lengths))
    ids, boundaries = batch["document_ids"].flatten(), batch["cu_seqlens"]
    assert boundaries.dtype is torch.int32
    assert boundaries[0] == 0
    assert boundaries[-1] == ids.numel()
    segments = boundaries.diff()
    assert (segments > 0).all()
    assert batch["max_seqlen"] == max(segments.tolist(), default=0) <= max_length
    segment_of = torch.repeat_interleave(torch.arange(len(segments)), segments.long())
    row_of = torch.arange(ids.numel()) // max_length
    same_document = (ids[:, None] == ids) & (row_of[:, None] == row_of)
    assert torch.equal(segment_of[:, None] == segment_of, same_document), "the block-diagonal masks are one"
    starts = boundaries[:-1].long()
    expected = torch.arange(ids.numel()) - starts[segment_of]
    assert torch.equal(batch["position_ids"].flatten(), expected.where(ids >= 0, 0))


def test_attention_in_blocks_sees_its_own_document_alone() -> None:
    documents = [torch.rand(length, 1) for length in (5, 3, 6, 2)]
    batch = pack_sequences(max_length=8)(documents)
    ids = batch["document_ids"][:, None, :]
    mask = ids[..., None] == ids[..., None, :]  # [rows, 1, length, length]
    hidden = batch["tokens"][:, None]
    out = torch.nn.functional.scaled_dot_product_attention(hidden, hidden, hidden, attn_mask=mask)[:, 0]
    for number, document in enumerate(documents):
        alone = torch.nn.functional.scaled_dot_product_attention(document[None], document[None], document[None])[0]
        torch.testing.assert_close(out[batch["document_ids"] == number], alone)


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("best_fit", [[2] * 4 + [5] * 6, [3] * 3 + [6] * 5 + [0] * 2]),
        ("first_fit", [[3] * 3 + [6] * 5 + [0] * 2, [2] * 4 + [5] * 6]),
    ],
)
def test_which_documents_share_a_row_is_pinned(method: str, rows: list[list[int]]) -> None:
    documents = [[3] * 3, [6] * 5, [2] * 4, [5] * 6]
    assert pack_sequences(max_length=10, method=method)(documents)["tokens"].tolist() == rows


def test_fields_are_packed_alike_and_padded_as_asked() -> None:
    samples = [{"ids": [1, 2], "labels": [-100, 2], "source": "a"}, {"ids": [3], "labels": [3], "source": "b"}]
    batch = pack_sequences(max_length=4, fields=["ids", "labels"], fill={"labels": -100})(samples)
    assert batch["ids"].tolist() == [[1, 2, 3, 0]]
    assert batch["labels"].tolist() == [[-100, 2, 3, -100]]
    assert batch["document_ids"].tolist() == [[0, 0, 1, -1]]
    assert "source" not in batch
    assert batch["cu_seqlens"].tolist() == [0, 2, 3, 4]


def test_tuples_have_numbered_fields() -> None:
    batch = pack_sequences(max_length=3)([(np.array([1, 2]), np.array([0.5, 1.5]))])
    assert batch["0"].tolist() == [[1, 2, 0]]
    assert batch["1"].tolist() == [[0.5, 1.5, 0]]


def test_what_is_too_long_is_cut_on_request() -> None:
    batch = pack_sequences(max_length=3, overlong="truncate")([[1, 2, 3, 4, 5], [6]])
    assert batch["tokens"].tolist() == [[1, 2, 3], [6, 0, 0]]


def test_cu_seqlens_of_rows() -> None:
    boundaries, longest = cu_seqlens(torch.tensor([[4, 4, 7, -1], [7, 7, 7, 9]]))
    assert (boundaries.tolist(), longest) == ([0, 2, 3, 4, 7, 8], 3)


def test_it_pickles() -> None:
    collate = pack_sequences(max_length=5, overlong="split", fill={"x": 1})
    assert pickle.loads(pickle.dumps(collate)) == collate


# The plan


@given(LENGTHS, st.integers(1, 30), METHODS, st.integers(1, 12), st.one_of(st.none(), st.integers(0, 9)))
@settings(max_examples=40, deadline=None)
def test_a_plan_covers_all_and_stays_in_its_windows(
    lengths: list[int], max_length: int, method: str, window: int, seed: int | None
) -> None:
    packing = Packing(max_length=max_length, method=method, overlong="split")
    pieces = plan(np.array(lengths), packing, window, seed)
    held: dict[int, list[range]] = {}
    for document, start, length in zip(pieces.document, pieces.start, pieces.length, strict=True):
        held.setdefault(int(document), []).append(range(start, start + length))
    covered = {document: sorted(place for part in parts for place in part) for document, parts in held.items()}
    assert covered == {document: list(range(length)) for document, length in enumerate(lengths) if length}
    assert np.unique(pieces.row).tolist() == list(range(pieces.num_rows))
    ends = pieces.offset + pieces.length
    for row in range(pieces.num_rows):
        mine = pieces.row == row
        assert pieces.offset[mine].tolist() == [0, *ends[mine][:-1].tolist()]
        assert ends[mine][-1] <= max_length
    if seed is None:
        windows = [np.unique(pieces.document[pieces.row == row] // window) for row in range(pieces.num_rows)]
        assert all(len(found) == 1 for found in windows)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_two_rows_that_fit_together_are_one(lengths: list[int]) -> None:
    """What any fit gives: of two rows, the later one's first piece had no room in the earlier one."""
    for method in ("best_fit", "first_fit"):
        pieces = plan(np.array(lengths), Packing(max_length=50, method=method))
        used = np.bincount(pieces.row, pieces.length)
        assert all(a + b > 50 for n, a in enumerate(used) for b in used[n + 1 :])


def test_a_plan_is_a_pure_function_and_the_seed_counts() -> None:
    lengths = np.arange(200) % 37 + 1
    packing = Packing(max_length=64)
    first, again, other = (plan(lengths, packing, 50, seed) for seed in (1, 1, 2))
    assert first.document.tolist() == again.document.tolist()
    assert first.document.tolist() != other.document.tolist()
    assert plan(lengths, packing, 50, 1).document[:12].tolist() == [
        110,
        26,
        173,
        109,
        65,
        108,
        176,
        70,
        177,
        144,
        69,
        28,
    ]


def test_best_fit_wastes_little() -> None:
    lengths = np.random.default_rng(0).lognormal(4, 1, 20_000).astype(np.int64).clip(1, 2048)
    pieces = plan(lengths, Packing(max_length=2048))
    assert 1 - lengths.sum() / (pieces.num_rows * 2048) < 0.001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 0}, r"max_length must be at least 1; got 0"),
        ({"max_length": 4, "method": "worst_fit"}, r"method must be 'best_fit' or 'first_fit'; got 'worst_fit'"),
        ({"max_length": 4, "overlong": "drop"}, r"overlong must be 'raise', 'truncate' or 'split'; got 'drop'"),
    ],
)
def test_arguments_that_break_a_rule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_sequences(**arguments)


@pytest.mark.parametrize(
    ("arguments", "samples", "message"),
    [
        ({}, [[1], [1] * 5, [1] * 6], r"document 1 has 5 tokens, more than max_length=4 \(as have 1 others\); pass overlong='split'"),
        ({}, [{"x": [1], "y": [1]}, {"x": [1], "y": [1, 2]}], r"in document 1 field y has 2, field x 1"),
        ({}, [{"x": [1], "name": "a"}], r"field name holds none; name the fields to pack: fields=\[...\]"),
        ({"fields": ["z"]}, [{"x": [1]}], r"fields names z, but samples have the fields x"),
        ({"fill": {"z": 1}}, [{"x": [1]}], r"fill names z"),
        ({}, [{"document_ids": [1]}], r"documents have a field document_ids already"),
        ({"fill": 0.5}, [[1]], r"cannot hold the fill value 0.5"),
        ({}, [], r"at least one sample"),
    ],
)  # fmt: skip
def test_documents_that_break_a_rule(arguments: dict[str, Any], samples: list[Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        pack_sequences(max_length=4, **arguments)(samples)


def test_plans_that_break_a_rule() -> None:
    with pytest.raises(ValueError, match="window must be at least 1 document; got 0"):
        plan(np.ones(3, np.int64), Packing(max_length=4), window=0)
    with pytest.raises(ValueError, match="lengths must be at least 0; got -2"):
        plan(np.array([1, -2]), Packing(max_length=4))
