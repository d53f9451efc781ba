"""A bounded cache around any dataset."""

from __future__ import annotations

import copy
import threading
from typing import Any

import torch

from stoker.data.sizes import sample_bytes
from stoker.errors import ArgumentError


class Cached(torch.utils.data.Dataset[Any]):
    """`dataset`, whose samples are kept in memory once read, until they take `limit_bytes`; the rest is read every time.

    What came first stays: in a shuffled epoch every sample is as likely to be asked for next as any other, so replacing
    one by another gains nothing and costs a read. In worker processes each worker has a cache of its own, of
    ``limit_bytes``. Thread-safe. A caller gets a copy, so writing to a sample does not change what is kept.

    Raises:
        ArgumentError: the dataset draws random numbers, which a cache would freeze: cache its source, and map that.
    """

    def __init__(self, dataset: Any, *, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ArgumentError(f"limit_bytes must be at least 0; got {limit_bytes}.")
        if getattr(dataset, "draws_randomness", False):
            raise ArgumentError(
                "the dataset draws random numbers, which a cache would freeze; cache its source, and map that."
            )
        self.dataset = dataset
        self.limit_bytes = limit_bytes
        self.num_bytes = 0
        self.hits = 0
        self.misses = 0
        self._samples: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with self._lock:
            kept = self._samples.get(index)
            self.hits += kept is not None
        if kept is not None:
            return copy.deepcopy(kept)
        sample = self.dataset[index]
        size = sample_bytes(sample)
        with self._lock:
            self.misses += 1
            if index not in self._samples and self.num_bytes + size <= self.limit_bytes:
                self._samples[index] = copy.deepcopy(sample)
                self.num_bytes += size
        return sample

    def sample_path(self, index: int) -> str | None:
        """The file of a sample, where the dataset knows it."""
        path = getattr(self.dataset, "sample_path", None)
        return None if path is None else path(index)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_samples": {},
            "num_bytes": 0,
            "hits": 0,
            "misses": 0,
            "_lock": None,
        }  # a worker begins its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
