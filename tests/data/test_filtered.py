"""Filters: what they drop is replaced in training and left out in evaluation, the same in every run and executor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import stoker
from stoker import Loader, SkipSample
from stoker.data import Arrays
from stoker.testing import assert_resumes_at_every_batch, epoch_hashes

NUMBERS = Arrays(number=torch.arange(100), square=torch.arange(100) ** 2)


def is_even(number: torch.Tensor) -> bool:
    return int(number) % 2 == 0


def is_small(sample: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return int(sample[1]) < 400


class Picky(Dataset[int]):
    """Anybody's dataset; wants nothing to do with multiples of 3, and sample 50 is broken."""

    def __init__(self, broken: int = -1) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> int:
        if index == self.broken:
            raise LookupError("broken")
        if index % 3 == 0:
            raise SkipSample("a multiple of 3")
        return index


class PickyByList(Picky):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [self[index] for index in indices]


def numbers(loader: Any) -> list[list[int]]:
    return [(batch if isinstance(batch, torch.Tensor) else batch[0]).tolist() for batch in loader]


def test_what_passes_is_as_it_was_and_the_rest_says_why() -> None:
    filtered = NUMBERS.filter(is_small, number=is_even)
    assert len(filtered) == 100
    assert [int(value) for value in filtered[4]] == [4, 16]
    with pytest.raises(SkipSample, match="sample 5 was dropped by the filter of its column number"):
        filtered[5]
    with pytest.raises(SkipSample, match="sample 20 was dropped by a filter"):
        filtered[20]


@pytest.mark.parametrize(
    "build",
    [
        lambda: NUMBERS.filter(is_small, number=is_even),
        lambda: NUMBERS.filter(number=is_even).filter(is_small),
        lambda: NUMBERS.filter(number=is_even).filter(is_small).map(square=torch.neg),
        lambda: NUMBERS.map(square=torch.Tensor.clone).filter(is_small, number=is_even),
        lambda: NUMBERS.filter(is_small, number=is_even).map(batch=list).select(range(100)),
    ],
)
def test_in_evaluation_rows_are_left_out_and_batches_without_any_too(build: Any) -> None:
    assert numbers(Loader(build(), 8, executor="inline")) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


@pytest.mark.parametrize(
    "dataset", [NUMBERS.filter(number=is_even), Picky(), PickyByList()], ids=lambda x: type(x).__name__
)
def test_in_training_they_are_replaced(dataset: Any) -> None:
    batches = numbers(Loader(dataset, 8, shuffle=True, seed=1, executor="inline"))
    assert {len(batch) for batch in batches[:-1]} == {8}
    assert sum(map(len, batches)) == len(dataset)
    wanted = (lambda n: n % 2 == 0) if len(dataset) == 100 else (lambda n: n % 3)
    assert all(wanted(number) for batch in batches for number in batch)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    "executor",
    [{"executor": "thread", "num_workers": 2}, {"executor": "process", "num_workers": 2}],
    ids=["thread", "process"],
)
@pytest.mark.parametrize("dataset", [NUMBERS.filter(number=is_even), Picky()], ids=["filter", "picky"])
def test_every_executor_drops_alike(dataset: Any, executor: dict[str, Any], shuffle: bool) -> None:
    ours, inline = Loader(dataset, 7, shuffle, seed=3, **executor), Loader(dataset, 7, shuffle, seed=3)
    assert epoch_hashes(ours) == epoch_hashes(inline)


def test_the_order_of_replacements_is_pinned() -> None:
    """A later version must replace alike, or runs that are resumed would see other samples."""
    assert numbers(Loader(Picky(), 10, shuffle=True, seed=0))[:2] == [
        [7, 53, 20, 52, 20, 17, 38, 53, 32, 59],
        [34, 46, 44, 28, 8, 25, 1, 26, 10, 59],
    ]


def test_it_resumes_at_every_batch() -> None:
    def make() -> Loader:
        return Loader(NUMBERS.filter(number=is_even), 16, shuffle=True, seed=5)

    assert_resumes_at_every_batch(make, [make])


def test_single_samples() -> None:
    loader = Loader(Picky(), batch_size=None)
    assert [int(sample) for sample in loader] == [number for number in range(60) if number % 3]


def test_a_filter_is_no_failure(tmp_path: Path) -> None:
    """Neither the limit nor the quarantine file sees it; a real error still does as it is told."""
    policy = stoker.ErrorPolicy("skip", limit=1, quarantine=tmp_path / "quarantine")
    batches = numbers(Loader(Picky(broken=50), 10, on_error=policy))
    assert [number for batch in batches for number in batch] == [
        number for number in range(60) if number % 3 and number != 50
    ]
    lines = (tmp_path / "quarantine").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [50]
    with pytest.raises(LookupError, match="broken") as caught:
        numbers(Loader(Picky(broken=52), 10))  # after one in its batch that was dropped
    assert "sample 52" in "".join(caught.value.__notes__)


def test_a_filter_that_keeps_nothing_ends() -> None:
    nothing = Arrays(torch.arange(4)).filter(lambda sample: False)
    assert numbers(Loader(nothing, 2)) == []
    with pytest.raises(RuntimeError, match=r"dropped 10,000 samples in a row .* select them beforehand"):
        numbers(Loader(nothing, 2, shuffle=True, seed=0))


def test_a_packed_store_holds_what_passes(tmp_path: Path) -> None:
    store = stoker.pack(NUMBERS.filter(number=is_even), tmp_path / "store", num_workers=0)
    assert store is not None
    packed = stoker.open(tmp_path / "store")
    assert [int(packed[index][0]) for index in range(len(packed))] == list(range(0, 100, 2))


def test_it_is_another_dataset_than_its_source() -> None:
    assert NUMBERS.filter(is_small).fingerprint() != NUMBERS.fingerprint()


def test_torch_s_own_loader_says_it_as_an_error() -> None:
    with pytest.raises(SkipSample):
        list(DataLoader(NUMBERS.filter(number=is_even), 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cube": is_even}, "filter needs columns of the dataset, which has number, square; got cube"),
        ({}, "filter needs a predicate, or a function of a column; got neither"),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NUMBERS.filter(**arguments)


def test_images_are_not_decoded_for_a_filter_of_labels() -> None:
    seen: list[str] = []

    class Source(stoker.data.Dataset):
        columns = ("image", "label")

        def __len__(self) -> int:
            return 2

        def read(self, index: int) -> tuple[Any, ...]:
            return np.zeros(3), index

        def finish(self, column: str, value: Any) -> Any:
            seen.append(column)
            return value

    filtered = Source().filter(label=lambda label: label == 1)
    with pytest.raises(SkipSample):
        filtered[0]
    assert seen == []
    assert filtered[1][1] == 1
