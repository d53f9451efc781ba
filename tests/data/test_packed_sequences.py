"""Rows of packed documents as a dataset: every token once, one shape, resumable, and safe against wrong lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from stoker import Loader
from stoker.batch import cu_seqlens
from stoker.data import Arrays, PackedSequences, Tokens
from stoker.testing import assert_resumes_at_every_batch, epoch_hashes

LENGTHS = [3, 9, 4, 1, 7, 2, 2, 8, 5, 6, 0, 3]


def documents_of(lengths: list[int]) -> list[torch.Tensor]:
    """Documents in which no token comes twice; tokens begin at 1."""
    return list(torch.arange(1, sum(lengths) + 1).split(lengths))


DOCUMENTS = documents_of(LENGTHS)


@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=15),
    st.integers(1, 25),
    st.sampled_from(["best_fit", "first_fit"]),
    st.one_of(st.none(), st.integers(1, 6)),
    st.one_of(st.none(), st.integers(0, 5)),
)
@settings(max_examples=40, deadline=None)
def test_every_token_comes_once(
    lengths: list[int], max_length: int, method: str, window: int | None, seed: int | None
) -> None:
    rows = PackedSequences(documents_of(lengths), max_length, window=window, seed=seed, method=method, overlong="split")
    seen: list[int] = []
    padding = 0
    for number in range(len(rows)):
        row = rows[number]
        is_token = row["document_ids"] >= 0
        seen += row["tokens"][is_token].tolist()
        padding += int((~is_token).sum())
        assert {len(value) for value in row.values()} == {max_length}
        boundaries, _ = cu_seqlens(row["document_ids"][None])
        ends = torch.tensor([0, *np.cumsum([len(run) for run in _runs(row["document_ids"].tolist())])])
        assert torch.equal(boundaries.long(), ends)
        assert sorted(set(rows.documents_of(number).tolist())) == row["document_ids"][is_token].unique().tolist()
    assert sorted(seen) == list(range(1, sum(lengths) + 1))
    assert rows.waste == pytest.approx(padding / max(1, len(rows) * max_length))


def _runs(values: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for value in values:
        if not runs or runs[-1][0] != value:
            runs.append([])
        runs[-1].append(value)
    return runs


def test_the_plan_is_pinned() -> None:
    """Runs that are resumed by a later version must find the same rows."""
    rows = PackedSequences(DOCUMENTS, 12, window=6, seed=0)
    assert [rows.documents_of(number).tolist() for number in range(len(rows))] == [
        [11, 1],
        [4, 2],
        [6, 5],
        [7, 0, 3],
        [9, 8],
    ]


def test_known_lengths_give_the_same_rows_without_reading() -> None:
    reads: list[int] = []

    class Counted(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            reads.append(index)
            return super().__getitem__(index)

    documents = Counted(DOCUMENTS)
    known = PackedSequences(documents, 12, lengths=np.array(LENGTHS), seed=3)
    assert reads == [0], "one document says which fields there are"
    assert epoch_hashes(known) == epoch_hashes(PackedSequences(DOCUMENTS, 12, seed=3))


@pytest.mark.parametrize(
    "executor", [{"executor": "inline"}, {"executor": "thread", "num_workers": 2}, {"executor": "process", "num_workers": 2}],
    ids=lambda arguments: arguments["executor"],
)  # fmt: skip
def test_loaders(executor: dict[str, Any]) -> None:
    rows = PackedSequences(DOCUMENTS, 12, seed=1)
    ours = Loader(rows, 2, shuffle=True, seed=4, **executor)
    assert epoch_hashes(ours) == epoch_hashes(Loader(rows, 2, shuffle=True, seed=4, executor="inline"))
    assert epoch_hashes(Loader(rows, 2, **executor)) == epoch_hashes(DataLoader(rows, 2))


def test_it_resumes_at_every_batch_and_knows_its_plan() -> None:
    def make(seed: int = 1) -> Loader:
        return Loader(PackedSequences(DOCUMENTS, 12, seed=seed), 2, shuffle=True, seed=5)

    assert_resumes_at_every_batch(make, [make])
    state = make().state_dict()
    with pytest.raises(ValueError, match="plan"):
        make(2).load_state_dict(state)


def test_columns_can_be_mapped_and_batches_too() -> None:
    rows = PackedSequences(DOCUMENTS, 12)
    mapped = rows.map(tokens=torch.neg, batch=lambda batch: {**batch, "rows": len(batch["tokens"])})
    for batch, plain in zip(Loader(mapped, 2), Loader(rows, 2), strict=True):
        assert batch["rows"] == len(plain["tokens"])
        assert torch.equal(batch["tokens"], -plain["tokens"])


def test_the_columns_of_a_dataset_are_the_fields(tmp_path: Path) -> None:
    np.arange(40, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    rows = PackedSequences(Tokens(tmp_path / "tokens.bin", window=4), 10, fill={"y": -100})
    assert rows.columns == ("x", "y", "document_ids", "position_ids")
    assert rows[0]["x"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]
    assert rows[0]["y"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, -100, -100]
    assert rows[0]["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 0]
    assert rows.draws_randomness is False


def test_other_fields_are_left_out_on_request() -> None:
    samples = [{"ids": [1, 2], "source": "a"}, {"ids": [3], "source": "b"}]
    assert PackedSequences(samples, 4, fields=["ids"])[0]["ids"].tolist() == [1, 2, 3, 0]
    with pytest.raises(TypeError, match=r"field source holds none; name the fields to pack: fields=\[...\]"):
        PackedSequences(samples, 4)


@pytest.mark.parametrize(
    ("documents", "arguments", "message"),
    [
        (DOCUMENTS, {"max_length": 8}, r"document 1 has 9 tokens, more than max_length=8 \(as have 0 others\)"),
        (DOCUMENTS, {"max_length": -1}, r"max_length must be at least 1; got -1"),
        (DOCUMENTS, {"max_length": 9, "window": 0}, r"window must be at least 1 document; got 0"),
        (DOCUMENTS, {"max_length": 9, "lengths": [1, 2]}, r"lengths must be 12 whole numbers, .* got int64 \[2\]"),
        (DOCUMENTS, {"max_length": 9, "lengths": np.ones(12)}, r"got float64 \[12\]"),
        ([], {"max_length": 9}, r"at least one document; the dataset is empty"),
    ],
)
def test_mistakes(documents: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackedSequences(documents, **arguments)


def test_lengths_that_are_wrong_are_found_when_a_row_is_read() -> None:
    rows = PackedSequences(Arrays(torch.zeros(3, 5)), 12, lengths=[5, 4, 5])
    with pytest.raises(RuntimeError, match="document 1 has 5 tokens, and rows were planned for 4"):
        epoch_hashes(rows)
