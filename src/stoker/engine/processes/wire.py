"""What travels between the loop and its worker processes: 32-byte records through pipes, the rest through shared memory.

A record is four int64. A pipe hands out whole records: a read of 32 bytes takes 32 consecutive ones, whichever of the
workers gets them. What a task is about stands at the beginning of its slot, and so does, afterwards, its result.
"""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from stoker.batch.layout import Layout
from stoker.batch.slots import PAGE_BYTES, Arena
from stoker.engine.protocol import BatchSpec

RECORD = struct.Struct("<qqqq")

MAX_OUTSTANDING_TASKS = 1024
"""Fewer than the 2,048 records that a pipe of 64 KiB holds, so that neither side ever blocks on a write."""

_HEAD = struct.Struct("<qqqqqq")  # epoch, step, position, rows, bytes of pickled indices (0: int64s), worker
_LAYOUT_AT = 64
_INDICES_AT = PAGE_BYTES
_MAX_LAYOUT_BYTES = _INDICES_AT - _LAYOUT_AT - 8

CLAIM, ROW = 0, 1
"""Words that each worker publishes in the control block: the task it is on (-1: none), and the row of it."""
_WORDS_PER_WORKER = 8  # a cache line each


@dataclass(frozen=True)
class TaskRecord:
    """Task `id`: rows ``[start, stop)`` of the batch in `slot`, or all of it as one value."""

    id: int
    slot: int
    start: int
    stop: int
    whole: bool

    def to_bytes(self) -> bytes:
        return RECORD.pack(self.id, self.slot << 1 | self.whole, self.start, self.stop)

    @staticmethod
    def from_bytes(record: bytes) -> TaskRecord:
        task_id, slot, start, stop = RECORD.unpack(record)
        return TaskRecord(task_id, slot >> 1, start, stop, bool(slot & 1))


class SlotHeader:
    """The beginning of a slot: the batch to be made, and the layout of what was made."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory
        self._head = memory[: _HEAD.size].data
        self._layout_length = memory[_LAYOUT_AT : _LAYOUT_AT + 8].view(np.int64)

    def write_spec(self, spec: BatchSpec) -> None:
        """Called by the loop, before the first task of the batch is submitted."""
        blob_bytes, num_rows = 0, spec.num_rows
        if isinstance(spec.indices, np.ndarray) and not spec.poisoned:
            indices = self._memory[_INDICES_AT : _INDICES_AT + 8 * num_rows].view(np.int64)
            indices[:] = spec.indices
        else:
            blob = cloudpickle.dumps((spec.indices, spec.poisoned, spec.stream))
            blob_bytes = len(blob)
            self._memory[_INDICES_AT : _INDICES_AT + blob_bytes] = np.frombuffer(blob, np.uint8)
        worker = -1 if spec.worker is None else spec.worker
        _HEAD.pack_into(self._head, 0, spec.epoch, spec.step, spec.position, num_rows, blob_bytes, worker)

    def read_spec(self) -> BatchSpec:
        """Called by a worker."""
        epoch, step, position, num_rows, blob_bytes, worker = _HEAD.unpack_from(self._head)
        indices: Any
        poisoned: tuple[int, ...] = ()
        stream = None
        if blob_bytes:
            indices, poisoned, stream = pickle.loads(self._memory[_INDICES_AT : _INDICES_AT + blob_bytes].data)
        else:
            indices = self._memory[_INDICES_AT : _INDICES_AT + 8 * num_rows].view(np.int64)
        return BatchSpec(epoch, step, position, indices, None if worker < 0 else worker, poisoned, stream)

    def data_offset(self) -> int:
        """Where the batch begins in the slot."""
        num_rows: int
        blob_bytes: int
        _, _, _, num_rows, blob_bytes, _ = _HEAD.unpack_from(self._head)
        return _INDICES_AT + -(-(blob_bytes or 8 * num_rows) // PAGE_BYTES) * PAGE_BYTES

    def write_layout(self, layout: Layout) -> bool:
        """Publishes the layout of the rows; False when it is too long to be published.

        Workers that fill one batch all write the same bytes, or the loop sees from their results that they do not
        agree.
        """
        data = layout.data
        if len(data) > _MAX_LAYOUT_BYTES:
            return False
        self._memory[_LAYOUT_AT + 8 : _LAYOUT_AT + 8 + len(data)] = np.frombuffer(data, np.uint8)
        self._layout_length[0] = len(data)
        return True

    def read_layout(self, digest: int) -> Layout | None:
        """The published layout; None where it is not the one of that digest."""
        length = int(self._layout_length[0])
        try:
            layout = Layout.from_bytes(self._memory[_LAYOUT_AT + 8 : _LAYOUT_AT + 8 + length].tobytes())
        except Exception:  # two workers with two layouts wrote at once
            return None
        return layout if layout.digest == digest else None


def control_words(arena: Arena, num_workers: int) -> NDArray[np.int64]:
    """The control block in the arena's last slot: int64 [num_workers, 8]."""
    size = num_workers * _WORDS_PER_WORKER * 8
    arena.reserve(arena.num_slots - 1, size)
    return arena.slot(arena.num_slots - 1)[:size].view(np.int64).reshape(num_workers, _WORDS_PER_WORKER)


def write_record(fd: int, *words: int) -> None:
    """Writes one record, whole: it is shorter than a pipe's atomic unit."""
    os.write(fd, RECORD.pack(*words))
