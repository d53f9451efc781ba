"""What the executors that write into slots share: a pool of slots, and how a finished batch leaves its slot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from stoker.batch.layout import Layout, view_batch
from stoker.batch.slots import SMALL_BYTES, Arena, SlotPool
from stoker.engine.protocol import BatchSpec

LENT_SLOTS = 3
"""Slots that a loop may hold at once without copies: the batch in use, the next one, and one in a queue of the user's."""


class SlottedExecutor:
    """Slots in an arena. Used by the loop's thread alone."""

    def _open_arena(self, num_slots: int, extra: int = 0) -> Arena:
        """An arena for `num_slots` batches in the making; `extra` slots at its end are not handed out."""
        self.arena = Arena(num_slots + LENT_SLOTS + extra)
        self._pool = SlotPool(self.arena, num_slots + LENT_SLOTS, LENT_SLOTS)
        self._running: dict[int, int] = {}  # slot -> tasks that may still write to it
        self._cancelled: set[int] = set()
        return self.arena

    def _began(self, slot: int) -> None:
        """Notes that one more task may write to the slot."""
        self._running[slot] = self._running.get(slot, 0) + 1

    def _ended(self, slot: int) -> bool:
        """Notes that a task has left the slot; False when the task's loop was left, and its result is nobody's."""
        self._running[slot] -= 1
        if slot not in self._cancelled:
            return True
        if not self._running[slot]:
            self._cancelled.discard(slot)
            self._pool.release(slot)
        return False

    def _cancel_slots(self, slots: Iterable[int]) -> None:
        """Frees the slots of batches that nobody will open, each as soon as no task writes to it."""
        for slot in slots:
            if self._running.get(slot):
                self._cancelled.add(slot)
            else:
                self._pool.release(slot)

    def acquire_slot(self) -> int | None:
        return self._pool.acquire()

    def release_slot(self, slot: int) -> None:
        self._pool.release(slot)

    def open_rows(self, slot: int, layout: Layout, spec: BatchSpec) -> Any:
        return layout.assemble(self._open_leaves(slot, self._data_offset(slot), layout, spec.num_rows))

    def _data_offset(self, slot: int) -> int:
        return 0

    def _open_leaves(self, slot: int, start: int, layout: Layout, num_rows: int) -> list[torch.Tensor]:
        _, num_bytes = layout.offsets(num_rows)
        memory = self.arena.slot(slot)[start : start + num_bytes]
        if num_bytes < SMALL_BYTES:
            leaves = view_batch(layout, np.array(memory), num_rows)
            self._pool.release(slot)
        elif self._pool.can_lend():
            leaves = view_batch(layout, self._pool.lend(slot, start, num_bytes), num_rows)
            leaves = [leaf.clone() if leaf.nbytes < SMALL_BYTES else leaf for leaf in leaves]
        else:  # the loop keeps its batches: torch's allocator takes half the time of NumPy's for a copy of megabytes
            leaves = [leaf.clone() for leaf in view_batch(layout, memory, num_rows)]
            self._pool.release(slot)
        return leaves
