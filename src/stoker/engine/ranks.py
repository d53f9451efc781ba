"""Which rank this process is, and what all ranks have to agree on."""

from __future__ import annotations

import operator
import os
from typing import Any

import torch
import torch.distributed as dist

from stoker.errors import ArgumentError


def current_rank() -> tuple[int, int]:
    """(rank, world size): of the default process group, else of the environment as torchrun sets it, else (0, 1)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world_size:
        raise ArgumentError(
            f"RANK must be in [0, WORLD_SIZE); the environment says RANK={rank}, WORLD_SIZE={world_size}."
        )
    return rank, world_size


class SharedSeed:
    """A loader's seed: as given, or drawn when it is first needed. All parts of a loader hold the same one."""

    def __init__(self, given: int | None, generator: torch.Generator | None) -> None:
        if given is not None and (isinstance(given, bool) or not hasattr(given, "__index__")):
            raise ArgumentError(f"seed must be a whole number or None; got {given!r}.")
        self._value = self._given = None if given is None else operator.index(given)
        self._generator = generator

    @property
    def value(self) -> int:
        """The seed, drawn now where there is none yet; then a collective operation where there are several ranks."""
        if self._value is None:
            self._value = draw_seed(self._generator)
        return self._value

    @property
    def known(self) -> int | None:
        """The seed if there is one already."""
        return self._value

    @property
    def given(self) -> int | None:
        """The seed that the user gave; None where it was, or will be, drawn."""
        return self._given

    def set(self, value: int) -> None:
        """Takes the seed of a state."""
        self._value = value

    def __getstate__(self) -> dict[str, Any]:
        return {
            "_value": self.value,
            "_given": self._given,
            "_generator": None,
        }  # a copy of a loader has the loader's own batches


def draw_seed(generator: torch.Generator | None) -> int:
    """A seed for a loader that was given none: drawn from `generator` or torch's global one, and the same on all ranks.

    Raises:
        ArgumentError: there are several ranks and no process group through which they could agree.
    """
    _, world_size = current_rank()
    grouped = dist.is_available() and dist.is_initialized()
    if world_size > 1 and not grouped:
        raise ArgumentError(
            f"seed must be given where there are {world_size} ranks and no torch.distributed process group to agree on one "
            "through; pass Loader(seed=...) with the same number on every rank."
        )
    seed = torch.empty((), dtype=torch.int64).random_(generator=generator)
    if world_size > 1:
        seeds = [int(seed)]
        dist.broadcast_object_list(seeds, src=0)
        return seeds[0]
    return int(seed)
