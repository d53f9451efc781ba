"""How many samples a batch holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from stoker.errors import ArgumentError


def count_rows(batch: Any) -> int:
    """The length of the first tensor in `batch`, looked for in dicts, lists, tuples and their like.

    Raises:
        ArgumentError: there is no tensor with a first dimension.
    """
    rows = _first_length(batch)
    if rows is None:
        raise ArgumentError(
            f"a batch must hold a tensor whose first dimension counts its samples; got {type(batch).__name__} without one."
        )
    return rows


def _first_length(value: Any) -> int | None:
    if isinstance(value, torch.Tensor):
        return len(value) if value.ndim else None
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return None
    lengths = (_first_length(part) for part in value)
    return next((length for length in lengths if length is not None), None)
