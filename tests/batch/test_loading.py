"""The collate functions in loaders: the same batches from every executor and from torch's own DataLoader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from stoker import Loader
from stoker.batch import Ragged, detection, pack_sequences, pad, ragged
from stoker.data import Arrays
from stoker.testing import assert_resumes_at_every_batch, batch_hash, epoch_hashes


class Texts(Dataset[Any]):
    """Sample i has i % 7 + 1 tokens, and a label."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Any:
        tokens = torch.arange(index % 7 + 1) + 10 * index
        return {"tokens": tokens, "labels": (tokens + 1).numpy()}


class Boxes(Dataset[Any]):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        return torch.full((3, index + 1, 4), index), {"boxes": torch.zeros(index, 4), "id": index}


CASES: list[tuple[Any, Callable[[Any], Any]]] = [
    (Texts(), pad(multiple=4, fill={"labels": -100}, masks=True, lengths=["tokens"], side="left")),
    (Texts(), ragged()),
    (Texts(), pack_sequences(max_length=8, method="first_fit")),
    (Boxes(), detection(masks=True)),
]
EXECUTORS = [
    {"executor": "inline"},
    {"executor": "thread", "num_workers": 2},
    {"executor": "process", "num_workers": 2},
]


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda arguments: arguments["executor"])
def test_batches_are_those_of_torch_s_loader(executor: dict[str, Any]) -> None:
    for dataset, collate in CASES:
        theirs = epoch_hashes(DataLoader(dataset, 4, collate_fn=collate))
        assert epoch_hashes(Loader(dataset, 4, collate_fn=collate, **executor)) == theirs, collate


def test_torch_s_workers_send_them_too() -> None:
    for dataset, collate in CASES[1:3]:
        batches = DataLoader(dataset, 8, collate_fn=collate, num_workers=1)
        assert epoch_hashes(batches) == epoch_hashes(DataLoader(dataset, 8, collate_fn=collate))


@pytest.mark.slow  # torch imports a good part of itself in each process that makes a nested tensor
def test_nested_tensors_come_from_workers_as_they_are() -> None:
    loader = Loader(Texts(), 8, collate_fn=ragged(nested=True), num_workers=1, executor="process")
    for batch, plain in zip(loader, Loader(Texts(), 8, collate_fn=ragged()), strict=True):
        assert batch["tokens"].layout is torch.jagged
        assert torch.equal(batch["tokens"].values(), plain["tokens"].values)


def test_they_resume_at_every_batch() -> None:
    for dataset, collate in CASES:

        def make(dataset: Any = dataset, collate: Any = collate) -> Loader:
            return Loader(dataset, 8, shuffle=True, seed=2, collate_fn=collate)

        assert_resumes_at_every_batch(make, [make], epochs=1)


def test_no_collate_draws_random_numbers() -> None:
    """Otherwise every batch would pay for seeding three generators."""
    assert not any(collate.draws_randomness for _, collate in CASES)


def test_memory_is_private_and_writable() -> None:
    source = torch.arange(6).reshape(3, 2)
    for collate in (pad(), ragged(), pack_sequences(max_length=2)):
        for batch in Loader(list(source), 3, collate_fn=collate):
            parts = (
                batch.values() if isinstance(batch, dict) else [batch.values if isinstance(batch, Ragged) else batch]
            )
            for part in parts:
                if isinstance(part, torch.Tensor):
                    part.zero_()
    assert source.tolist() == [[0, 1], [2, 3], [4, 5]]


# map(batch=...)


def lengths_of(batch: Any) -> Any:
    padded, _labels, lengths = batch
    return padded * 2, lengths


def jitter(batch: Any) -> Any:
    padded, *_ = batch
    return padded + torch.randint(1000, padded.shape)


class Words(Arrays):
    """Arrays whose first column is cut to a length of its own."""

    def read(self, index: int) -> tuple[Any, ...]:
        words, label = super().read(index)
        return words[: index % 5 + 1], label


DATASET = Words(words=torch.arange(200).reshape(20, 10), label=torch.arange(20))


@pytest.mark.parametrize("executor", EXECUTORS[1:], ids=lambda arguments: arguments["executor"])
def test_batch_functions_run_after_the_collate(executor: dict[str, Any]) -> None:
    collate = pad(lengths=True, multiple=5)
    mapped = DATASET.map(batch=lengths_of)
    for batch, plain in zip(
        Loader(mapped, 6, collate_fn=collate, **executor), Loader(DATASET, 6, collate_fn=collate), strict=True
    ):
        assert torch.equal(batch[0], plain[0] * 2)
        assert torch.equal(batch[1], plain[2])


def test_what_they_draw_belongs_to_the_batch() -> None:
    def make(**executor: Any) -> Loader:
        return Loader(DATASET.map(batch=jitter), 6, shuffle=True, seed=1, collate_fn=pad(), **executor)

    inline, processes = (epoch_hashes(make(**executor)) for executor in (EXECUTORS[0], EXECUTORS[2]))
    assert inline == processes
    assert batch_hash(make().batch(0, 2)) == inline[2]
    assert_resumes_at_every_batch(make, [make])


def test_a_filter_before_a_collate() -> None:
    filtered = DATASET.filter(label=lambda label: int(label) % 2 == 1)
    batches = list(Loader(filtered, 10, collate_fn=pad(lengths=True)))
    assert [batch[1].tolist() for batch in batches] == [[1, 3, 5, 7, 9], [11, 13, 15, 17, 19]]
    assert batches[0][2].tolist() == [2, 4, 1, 3, 5]
