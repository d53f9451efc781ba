"""What workers hold: one copy of the dataset for all, and no more after many epochs than after one."""

from __future__ import annotations

import sys

import psutil
import pytest
import torch
from torch.utils.data import Dataset

from stoker import Loader

LENGTH = 200_000


class Strings(Dataset[int]):
    def __init__(self, items: list[str]) -> None:
        self.items = items

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> int:
        return len(self.items[index]) if self.items else 0


def helpers_bytes() -> int:
    return sum(int(child.memory_full_info().pss) for child in psutil.Process().children(recursive=True))


@pytest.mark.usefixtures("no_leaks")
def test_a_list_is_held_once_and_does_not_grow() -> None:
    items = [f"images/class {number % 1000}/{number:07d}.jpg" for number in range(LENGTH)]
    one_copy = sys.getsizeof(items) + sum(map(sys.getsizeof, items))
    figures = []
    for held in ([], items):
        arguments = {"batch_size": 5000, "shuffle": True, "num_workers": 2, "executor": "process", "seed": 0}
        loader = Loader(Strings(held), persistent_workers=True, **arguments)
        for _ in range(3):
            assert sum(int(batch.sum()) for batch in loader) == sum(map(len, held))
            figures.append(helpers_bytes())
        del loader
    net = [figure - figures[2] for figure in figures[3:]]
    assert net[-1] < 1.3 * one_copy
    assert net[-1] - net[0] < 0.2 * one_copy


@pytest.mark.usefixtures("no_leaks")
def test_a_large_tensor_is_mapped_by_all_workers() -> None:
    class Rows(Dataset[int]):
        rows = torch.ones(0)

        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> int:
            return int(self.rows[index].sum())

    dataset = Rows()
    dataset.rows = torch.ones(64, 1_000_000)  # 256 MB
    loader = Loader(dataset, batch_size=8, num_workers=2, executor="process", persistent_workers=True)
    before = helpers_bytes()
    assert sum(int(batch.sum()) for batch in loader) == 64_000_000
    assert helpers_bytes() - before < 1.3 * dataset.rows.nbytes + 600 * 2**20  # torch itself in three processes
