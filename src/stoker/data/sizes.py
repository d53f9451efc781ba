"""How much memory a sample takes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch


def sample_bytes(value: Any) -> int:
    """Bytes of a sample: those of its arrays, and Python's own for the rest. Containers are followed."""
    if isinstance(value, torch.Tensor):
        return value.nbytes + 64
    if isinstance(value, np.ndarray):
        return value.nbytes + 64
    if isinstance(value, list | tuple | set):
        return sys.getsizeof(value) + sum(map(sample_bytes, value))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(sample_bytes, value.values()))
    data = getattr(value, "data", None)
    return sys.getsizeof(value) + (len(data) if isinstance(data, bytes) else 0)
