"""Slots: the memory that batches live in, between the workers that fill it and the loop that reads it.

A slot goes round: acquire → fill → commit → lend → release. All slots of a loader are one `Arena`: an anonymous file
that has no name (so nothing can be left behind), is not bound by the size of the ``/dev/shm`` mount, and is sparse, so
that each slot can have gigabytes of address space and use only what its batch needs. Free slots are handed out last-in
first-out: a warm page is written about four times as fast as a fresh one.

A batch is lent to the loop without a copy. Its arrays hold a `Lease`; when the last of them is gone, the slot is free
again.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stoker.errors import MemoryLimitError

PAGE_BYTES = mmap.PAGESIZE

SMALL_BYTES = 64 << 10
"""Arrays below this are copied out of their slot: lending them would let a kept label hold a whole batch of images."""

_STRIDE_BYTES = 4 << 30
_SMALLEST_STRIDE_BYTES = 64 << 20


class Arena:
    """`num_slots` slots in one anonymous shared mapping. Processes that inherit or receive `fd` see the same memory.

    Writing to a slot is safe once `reserve` has returned: a write into a sparse file that the kernel cannot back would
    end the process with SIGBUS.
    """

    def __init__(self, num_slots: int, fd: int | None = None, stride_bytes: int = _STRIDE_BYTES) -> None:
        self.num_slots = num_slots
        self.fd = anonymous_file() if fd is None else fd
        self.stride_bytes, self._map = _map_largest(self.fd, num_slots, stride_bytes)
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._reserved = [0] * num_slots
        self._close = weakref.finalize(self, os.close, self.fd)

    def slot(self, index: int) -> NDArray[np.uint8]:
        """All bytes of slot `index`, shared and writable."""
        start = index * self.stride_bytes
        return self._bytes[start : start + self.stride_bytes]

    def reserve(self, index: int, num_bytes: int) -> None:
        """Makes sure that the first `num_bytes` of slot `index` have memory behind them.

        Raises:
            MemoryLimitError: the slot's address space or the machine's memory is too small for it.
        """
        if num_bytes <= self._reserved[index]:
            return
        if num_bytes > self.stride_bytes:
            raise MemoryLimitError(
                f"a batch of {num_bytes:,} bytes does not fit a slot of {self.stride_bytes:,} bytes; use a smaller batch_size."
            )
        rounded = -(-num_bytes // PAGE_BYTES) * PAGE_BYTES
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self.fd, index * self.stride_bytes, rounded)
            except OSError as error:
                raise MemoryLimitError(
                    f"no memory for a batch of {num_bytes:,} bytes ({error.strerror}); use a smaller batch_size, fewer "
                    "workers, a smaller prefetch_factor, or set memory_limit."
                ) from error
        self._reserved[index] = rounded


def anonymous_file() -> int:
    """The descriptor of a new file in memory that has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stoker-batches", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="stoker-batches-") as file:  # macOS: unlinked at once, so as nameless
        return os.dup(file.fileno())


def _map_largest(fd: int, num_slots: int, stride_bytes: int) -> tuple[int, mmap.mmap]:
    """Maps the arena with the largest stride that the limits on address space and file size (``ulimit``) allow."""
    while True:
        try:
            if os.fstat(fd).st_size < num_slots * stride_bytes:
                os.ftruncate(fd, num_slots * stride_bytes)
            return stride_bytes, mmap.mmap(fd, num_slots * stride_bytes)
        except (OSError, ValueError) as error:
            if stride_bytes <= _SMALLEST_STRIDE_BYTES:
                raise MemoryLimitError(
                    f"cannot map {num_slots} slots of {stride_bytes:,} bytes of address space: {error}. "
                    "Raise `ulimit -v`, or use executor='inline'."
                ) from error
            stride_bytes //= 2


class Lease:
    """Keeps a slot out of use while any array over it lives. NumPy reads it through the array interface."""

    __slots__ = ("__array_interface__", "_give_back", "_memory", "_slot")

    def __init__(self, slot: int, memory: NDArray[np.uint8], give_back: Callable[[int], None]) -> None:
        self._slot = slot
        self._memory = memory  # keeps the mapping alive after the loader is gone
        self._give_back = give_back
        self.__array_interface__ = {
            "data": (memory.ctypes.data, False),
            "shape": memory.shape,
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_finalizing():  # modules are empty then, and nobody takes the slot any more
            self._give_back(self._slot)


class SlotPool:
    """Which of an arena's first `num_slots` slots are free, in use, or lent. One process owns it.

    `acquire` and `lend` are the loop's thread's alone. Leases may end in any thread (the garbage collector's too): giving
    back is one atomic append.
    """

    def __init__(self, arena: Arena, num_slots: int, max_lent: int) -> None:
        self.arena = arena
        self._free = list(range(num_slots - 1, -1, -1))
        self._lent: set[int] = set()
        self._max_lent = max_lent
        self._owner = os.getpid()
        _pools.add(self)

    def acquire(self) -> int | None:
        """The most recently used free slot; None when all are in use."""
        return self._free.pop() if self._free else None

    def release(self, slot: int) -> None:
        """Frees a slot that was not lent."""
        self._free.append(slot)

    def can_lend(self) -> bool:
        """Whether one more slot can be lent without starving the workers."""
        return len(self._lent) < self._max_lent and bool(self._free)

    def lend(self, slot: int, start: int, num_bytes: int) -> NDArray[np.uint8]:
        """Bytes ``[start, start + num_bytes)`` of the slot; it is free again when the array and all views of it are gone."""
        self._lent.add(slot)
        memory = self.arena.slot(slot)[start : start + num_bytes]
        return np.asarray(Lease(slot, memory, self._give_back))

    @property
    def num_lent(self) -> int:
        return len(self._lent)

    def _give_back(self, slot: int) -> None:
        if slot in self._lent and os.getpid() == self._owner:
            self._lent.discard(slot)
            self._free.append(slot)

    def retire_lent(self) -> None:
        """Never reuses the slots that are lent now: after a fork the child reads them too, and must not see later batches."""
        if os.getpid() == self._owner:
            self._lent.clear()


_pools: weakref.WeakSet[SlotPool] = weakref.WeakSet()


def _retire_all_lent() -> None:
    for pool in list(_pools):
        pool.retire_lent()


os.register_at_fork(before=_retire_all_lent)
