"""The largest batch size that fits, found by trying."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from stoker.engine.budget import parse_bytes
from stoker.errors import ArgumentError, MemoryLimitError

# What torch's CPU allocator and the CUDA libraries say where no exception type of its own says it.
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def find_batch_size(
    step: Callable[[int], object],
    *,
    start: int = 1,
    limit: int = 1 << 20,
    multiple_of: int = 1,
    memory_limit: int | str | None = None,
    device: torch.device | str | None = None,
) -> int:
    """The largest batch size for which `step` fits in memory: by doubling until it does not, then by bisection.

    Takes about 2·log₂(result) calls. What a call leaves behind is freed before the next one: garbage is collected and the
    CUDA cache emptied.

    Args:
        step: ``step(batch_size)`` does all that a training step does with a batch of that size, forward, backward and the
            optimiser, and keeps nothing. It changes the model as training does: keep a copy of its state where that matters.
            It must need more memory for a larger batch. Data that stays the same serves: what is measured is memory.
        start: the first size tried, and the smallest.
        limit: the largest size tried; the dataset's length, say.
        multiple_of: sizes are multiples of this (of 8, where the hardware likes it).
        memory_limit: bytes, or "2GiB": how much a step may take at its peak beyond what is held before the first one. By
            default what the device or the allocator gives. On the CPU up to 32 MB that the C library keeps of a smaller
            step may count as taken: then the result is that much smaller.
        device: where `memory_limit` is measured: by default the current CUDA device if there is one, else the CPU.

    Raises:
        MemoryLimitError: not even `start` fits.
        ArgumentError: a size is less than 1, `start` exceeds `limit`, or memory cannot be measured here.
        Exception: whatever else `step` raises.
    """
    if min(start, multiple_of) < 1 or _ceiling(start, multiple_of) > limit:
        raise ArgumentError(
            "start and multiple_of must be at least 1, and start, raised to a multiple, at most limit; "
            f"got start={start}, multiple_of={multiple_of}, limit={limit}."
        )
    trial = _Trial(step, _Meter(device, memory_limit))
    first = _ceiling(start, multiple_of) // multiple_of
    _free()  # what is given back later must not count as memory that was held before the first step
    with _garbage_apart():
        found = largest_that_fits(lambda size: trial.fits(size * multiple_of), first, limit // multiple_of)
    if found is None:
        raise MemoryLimitError(f"not even a batch of {first * multiple_of} fits: {trial.reason}.")
    return found * multiple_of


def largest_that_fits(fits: Callable[[int], bool], start: int, limit: int) -> int | None:
    """The largest number in [start, limit] that `fits`, by doubling and bisecting; None where `start` does not.

    `fits` must be true up to some number and false from there on. It is asked about each number once at most, and never
    about one beyond the double of the largest that fits.
    """
    good, bad, size = 0, limit + 1, start
    while good < size < bad:
        if fits(size):
            good = size
        elif good == 0:
            return None
        else:
            bad = size
        size = min(2 * good, limit) if bad > limit else (good + bad) // 2
    return good


def _ceiling(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@dataclass
class _Trial:
    """Runs steps, and says whether they fit."""

    step: Callable[[int], object]
    meter: _Meter
    reason: str = ""

    def fits(self, batch_size: int) -> bool:
        """A failure's frames hold its tensors, so they are gone before memory is freed."""
        try:
            self.meter.begin()
            self.step(batch_size)
            self.meter.end()
            return True
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not _is_out_of_memory(error):
                raise
            self.reason = str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__
            return False
        finally:
            _free()


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


@contextmanager
def _garbage_apart() -> Iterator[None]:
    """Collections look at what is made inside alone: a large program's heap takes a second to look through."""
    gc.collect()
    freezes = gc.get_freeze_count() == 0
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()


def _free() -> None:
    """Gives back what nobody holds any more: Python's cycles, what the C library keeps for later, CUDA's cache."""
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class _Meter:
    """The peak of a step's memory against a limit; measures nothing where there is none.

    On the CPU the peak is that of the process's resident memory, which Linux keeps and lets us reset (proc(5), clear_refs).
    """

    def __init__(self, device: torch.device | str | None, limit: int | str | None) -> None:
        self._limit = None if limit is None else parse_bytes(limit)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._baseline: int | None = None

    def begin(self) -> None:
        """Before a step."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._limit is not None:
            _reset_resident_peak()
        if self._baseline is None:
            self._baseline = self._peak()

    def end(self) -> None:
        """After a step. Raises MemoryLimitError where it took more than it may."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # an error of the device's own shows up here
        taken = self._peak() - (self._baseline or 0)
        if self._limit is not None and taken > self._limit:
            raise MemoryLimitError(f"a step took {taken:,} bytes, and memory_limit is {self._limit:,}")

    def _peak(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return 0 if self._limit is None else _resident_peak()


def _reset_resident_peak() -> None:
    with suppress(OSError):
        _CLEAR_REFS.write_text("5")
        return
    raise ArgumentError(
        "memory_limit on the CPU needs Linux, whose /proc/self/clear_refs resets the peak; here it cannot be written. "
        "Leave memory_limit out."
    )


def _resident_peak() -> int:
    """Bytes: the most resident memory since the peak was reset."""
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
