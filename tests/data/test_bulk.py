"""Bulk reading through torch's own dataset wrappers: the same batches as sample by sample, without the samples."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)

from stoker import Loader
from stoker.data import Arrays
from stoker.data.bulk import bulk_reader
from stoker.engine.fetch import Fetcher
from stoker.testing import Counting, batch_hash, epoch_hashes


def tensors(length: int, start: int = 0) -> TensorDataset:
    numbers = torch.arange(start, start + length)
    return TensorDataset(numbers.float().reshape(-1, 1).expand(-1, 3).contiguous(), numbers)


class OnlyInBulk(Dataset[Any]):
    """A user's dataset with `get_batch`, whose samples cannot be had one by one."""

    def __init__(self, length: int, named: bool = False, strings: bool = False) -> None:
        self.length, self.named, self.strings = length, named, strings

    def __len__(self) -> int:
        return self.length

    def get_batch(self, indices: Any) -> Any:
        rows = torch.from_numpy(indices).clone()
        texts = [f"row {index}" for index in indices]
        columns = {"row": rows, "text": texts} if self.strings else {"row": rows, "square": rows * rows}
        return columns if self.named else list(columns.values())

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("read in bulk")


WRAPPERS: dict[str, Callable[[], Any]] = {
    "subset": lambda: Subset(tensors(40), range(3, 30)),
    "subset of a subset": lambda: Subset(Subset(tensors(40), list(range(30))), [5, 5, 1, 29]),
    "subset by tensor": lambda: Subset(tensors(40), torch.arange(30).flip(0)),  # type: ignore[arg-type]
    "random split": lambda: random_split(tensors(40), [30, 10], torch.Generator().manual_seed(0))[1],
    "concat": lambda: ConcatDataset([tensors(7), tensors(0), tensors(20, 100), tensors(3, 50)]),
    "added": lambda: tensors(7) + tensors(5, 7) + tensors(9, 12),
    "concat of subsets": lambda: ConcatDataset([Subset(tensors(9), [8, 1]), Subset(tensors(9), range(4))]),
    "subset of a concat": lambda: Subset(ConcatDataset([tensors(7), tensors(20)]), range(20, 3, -1)),
    "stack": lambda: StackDataset(tensors(21), tensors(21, 40)),
    "named stack": lambda: StackDataset(image=tensors(21), mask=Subset(tensors(50), range(21))),
    "stack of a concat": lambda: StackDataset(tensors(21), ConcatDataset([tensors(20), tensors(1, 20)])),
    "arrays": lambda: ConcatDataset(
        [Arrays(image=np.eye(4), label=range_(4)), Arrays(image=np.ones((3, 4)), label=range_(3))]
    ),
}


def range_(length: int) -> np.ndarray[Any, Any]:
    return np.arange(length)


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_read_in_bulk_and_equal_torch_s_batches(name: str) -> None:
    dataset = WRAPPERS[name]()
    assert bulk_reader(dataset, True) is not None
    torch_s = DataLoader(dataset, batch_size=4, sampler=range(len(dataset) - 1, -1, -1))
    ours = Loader(dataset, batch_size=4, sampler=range(len(dataset) - 1, -1, -1))
    assert epoch_hashes(ours) == epoch_hashes(torch_s)
    assert "one gather" in Loader(dataset, num_workers=2, seed=0).explain()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: Subset(OnlyInBulk(30), range(2, 20)),
        lambda: ConcatDataset([OnlyInBulk(9), OnlyInBulk(9)]),
        lambda: ConcatDataset([OnlyInBulk(9, named=True), OnlyInBulk(9, named=True)]),
        lambda: StackDataset(OnlyInBulk(18), Subset(OnlyInBulk(30), range(18))),
        lambda: StackDataset(a=OnlyInBulk(18, strings=True)),
    ],
)
def test_a_user_s_get_batch_is_found_inside_wrappers(wrap: Callable[[], Any]) -> None:
    assert len(list(Loader(wrap(), batch_size=4, shuffle=True, seed=0))) == 5


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any),
    draws=st.lists(st.integers(0, 10**6), min_size=1, max_size=20),
)
def test_a_concat_puts_every_row_in_its_place(lengths: list[int], draws: list[int]) -> None:
    dataset = ConcatDataset([tensors(length, 100 * part) for part, length in enumerate(lengths)])
    indices = [draw % (2 * len(dataset)) - len(dataset) for draw in draws]
    reader = bulk_reader(dataset, True)
    assert reader is not None
    expected = default_collate([dataset[index] for index in indices])
    assert batch_hash(reader(np.array(indices, np.int64))) == batch_hash(expected)


def test_indices_may_count_from_the_end_as_in_torch() -> None:
    batches = [batch for _, batch in Loader(tensors(5), batch_size=2, sampler=[-1, 0, -5, 4])]
    assert [batch.tolist() for batch in batches] == [[4, 0], [0, 4]]
    with pytest.raises(IndexError):
        list(Loader(tensors(5), sampler=[5]))


@pytest.mark.parametrize("parts", [[torch.zeros(3, 2), torch.zeros(3, 4)], [torch.zeros(3), torch.zeros(3, 4)]])
def test_parts_that_do_not_match_are_torch_s_own_error(parts: list[torch.Tensor]) -> None:
    dataset = ConcatDataset([TensorDataset(part) for part in parts])
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        list(Loader(dataset, batch_size=4))


def test_parts_of_other_dtypes_are_collated_as_torch_does() -> None:
    dataset = ConcatDataset([TensorDataset(torch.arange(3)), TensorDataset(torch.rand(3))])
    assert epoch_hashes(Loader(dataset, batch_size=4)) == epoch_hashes(DataLoader(dataset, batch_size=4))


def test_one_part_without_a_bulk_path_is_read_by_samples() -> None:
    class Changed(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return tuple(value + 1 for value in super().__getitem__(index))

    for dataset in (ConcatDataset([tensors(5), Changed(*tensors(5).tensors)]), StackDataset(tensors(5), Counting(5))):
        assert bulk_reader(dataset, True) is None
        assert epoch_hashes(Loader(dataset, batch_size=4)) == epoch_hashes(DataLoader(dataset, batch_size=4))
    assert bulk_reader(tensors(5) + tensors(5), False) is None


class Whole(Counting):
    """Hands out samples by the list, and nothing else."""

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("read by the list")

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [super(Whole, self).__getitem__(index) for index in indices]


@pytest.mark.parametrize(
    "wrap", [lambda: Subset(Whole(9), range(3, 9)), lambda: StackDataset(Whole(9), list(range(9)))]
)
def test_getitems_is_used_through_wrappers(wrap: Callable[[], Any]) -> None:
    assert epoch_hashes(Loader(wrap(), batch_size=4)) == epoch_hashes(DataLoader(wrap(), batch_size=4))


@pytest.mark.parametrize("wrap", [lambda one: StackDataset(one, one), lambda one: Subset(one, range(9))])
def test_wrappers_of_single_samples_keep_rows_of_their_own(wrap: Callable[[Any], Any]) -> None:
    loader = Loader(wrap(Counting(9)), batch_size=4, seed=0)
    assert Fetcher(loader._work(0)).writes_rows, "their __getitems__ reads nothing together: each row is a task's"


class NoisyBulk(OnlyInBulk):
    def get_batch(self, indices: Any) -> Any:
        return torch.from_numpy(indices) + torch.rand(len(indices)) + random.random()


def test_a_user_s_get_batch_draws_from_the_batch_s_key() -> None:
    def loaded(seed: int) -> list[str]:
        torch.manual_seed(seed)
        random.seed(seed)
        return epoch_hashes(Loader(NoisyBulk(20), batch_size=4, shuffle=True, seed=5))

    assert loaded(1) == loaded(2)
    with_workers = Loader(NoisyBulk(20), batch_size=4, shuffle=True, seed=5, executor="process", num_workers=2)
    assert epoch_hashes(with_workers) == loaded(3)


def test_a_batch_transform_is_kept_by_a_subset() -> None:
    dataset = Subset(Arrays(torch.arange(8)).map(batch=lambda batch: batch * 10), [1, 3])
    assert [batch.tolist() for batch in Loader(dataset, batch_size=2)] == [[10, 30]]


def test_errors_name_the_path_through_wrappers() -> None:
    class Files(Counting):
        samples = [(f"{number}.jpg", 0) for number in range(9)]

        def __getitem__(self, index: int) -> torch.Tensor:
            raise OSError("truncated")

    with pytest.raises(OSError, match="truncated") as caught:
        list(Loader(Subset(ConcatDataset([Counting(2), Files(9)]), [4]), batch_size=1))
    assert "2.jpg" in caught.value.__notes__[0]
