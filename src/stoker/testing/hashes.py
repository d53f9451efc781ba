"""Hashes of batches: two batches with one hash hold the same values, dtypes, shapes and structure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch


def batch_hash(batch: Any) -> str:
    """A hash of a batch: tensors and arrays by dtype, shape and bytes, containers and dataclasses by element, the rest by ``repr``."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, batch)
    return digest.hexdigest()


def epoch_hashes(batches: Iterable[Any]) -> list[str]:
    """The hashes of all batches, in order."""
    return [batch_hash(batch) for batch in batches]


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for key, element in value.items():
            digest.update(repr(key).encode())
            _feed(digest, element)
    elif isinstance(value, list | tuple):
        digest.update(f"sequence {len(value)}".encode())
        for element in value:
            _feed(digest, element)
    elif is_dataclass(value) and not isinstance(value, type):
        digest.update(type(value).__qualname__.encode())
        _feed(digest, [getattr(value, field.name) for field in fields(value)])
    else:
        digest.update(repr(value).encode())
