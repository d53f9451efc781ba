"""The two loaders that every test of this room runs over with the same assertions, and how to look at what they give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from stoker import Loader

both_loaders = pytest.mark.parametrize("make", [DataLoader, Loader])
with_and_without_workers = pytest.mark.parametrize("num_workers", [0, 1])


def outline(value: Any) -> Any:
    """A value with the types of its containers and the dtypes of its tensors, to be compared with ``==``."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, {key: outline(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [outline(element) for element in value]
    return type(value).__name__, value


class Squares(Dataset[int]):
    """Sample i is i²; a class that nothing is known of."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index * index


class Shares(IterableDataset[int]):
    """Yields ``range(sum(sizes))``, of which worker w takes the next `sizes[w]`; all of it without workers."""

    def __init__(self, *sizes: int, length: int | None = None) -> None:
        self.sizes, self.length = sizes, length

    def __repr__(self) -> str:
        return f"Shares{self.sizes}"  # without an address: it stands in the names of tests

    def __iter__(self) -> Any:
        info = get_worker_info()
        sizes, number = ((sum(self.sizes),), 0) if info is None else (self.sizes, info.id)
        start = sum(sizes[:number])
        return iter(range(start, start + sizes[number]))


class Sized(Shares):
    """The same, with the length that it claims to have."""

    def __len__(self) -> int:
        assert self.length is not None
        return self.length


def as_is(samples: Any) -> Any:
    """A collate function that leaves the list of samples alone."""
    return samples
