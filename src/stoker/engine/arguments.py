"""Checks of a loader's arguments: mistakes are told where they are made, and not when the loader is iterated."""

from __future__ import annotations

from typing import Any

import numpy as np

from stoker.errors import ArgumentError


def check_batching(batch_size: int | None, batch_sampler: Any, reseed: str, tail: str) -> None:
    """Raises ArgumentError for what says nothing about batches."""
    if batch_size is not None and batch_sampler is None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise ArgumentError(f"batch_size must be a whole number, or None for single samples; got {batch_size!r}.")
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1; got {batch_size}.")
    if reseed not in ("sample", "worker"):
        raise ArgumentError(f"reseed must be 'sample' or 'worker'; got {reseed!r}.")
    if tail not in ("pad", "drop"):
        raise ArgumentError(f"tail must be 'pad' or 'drop'; got {tail!r}.")


def check_workers(num_workers: int | str, prefetch_factor: int | None, timeout: float) -> None:
    """Raises ArgumentError for what says nothing about workers, or needs some where there are none."""
    if isinstance(num_workers, str) and num_workers != "auto":
        raise ArgumentError(f"num_workers must be a number or 'auto'; got {num_workers!r}.")
    if num_workers == 0 and timeout > 0:
        raise ArgumentError(
            f"timeout needs workers, num_workers of at least 1, whose batches are waited for; got {timeout}."
        )
    if num_workers != 0 and prefetch_factor == 0:
        raise ArgumentError("prefetch_factor must be at least 1, so that workers have something to do; got 0.")
