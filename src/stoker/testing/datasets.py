"""Small datasets whose samples tell where they come from."""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from torch.utils.data import Dataset


class Counting(Dataset[torch.Tensor]):
    """Sample i is int64 [2]: (i, i²). `delay_s(i)`, where given, is slept before."""

    def __init__(self, length: int, delay_s: float = 0.0) -> None:
        self.length = length
        self.delay_s = delay_s

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is out of range for {self.length} samples")
        time.sleep(self.delay_s)
        return torch.tensor([index, index * index])


class Noisy(Dataset[tuple[torch.Tensor, int]]):
    """Sample i is (float64 [3], i): draws from ``random``, ``numpy.random`` and ``torch``, as unmodified transforms do."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        draws = [random.random(), np.random.rand(), torch.rand((), dtype=torch.float64).item()]
        return torch.tensor(draws, dtype=torch.float64) + index, index
