"""A worker process: reads task records, makes rows or batches in shared memory, answers with result records."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
import torch.utils.data._utils.collate as torch_collate
import torch.utils.data._utils.worker as torch_worker
from numpy.typing import NDArray

from stoker.batch.layout import Layout, MisfitError, RowWriter
from stoker.batch.parcel import Parcel, pack_value
from stoker.batch.slots import Arena
from stoker.engine.failures import RemoteError
from stoker.engine.fetch import Fetcher, run_whole
from stoker.engine.processes.hdf5_handles import open_handles
from stoker.engine.processes.wire import CLAIM, RECORD, ROW, SlotHeader, TaskRecord, control_words, write_record
from stoker.engine.protocol import Kind, Work
from stoker.engine.seeding import seed_worker, worker_seed


def run_worker(number: int, work: Work, base_seed: int, arena: Arena, task_fd: int, result_fd: int) -> None:
    """Works until the pipe of tasks is closed, which is when the loop's process ends or closes it."""
    _become_worker(number, work, base_seed)
    words = control_words(arena, work.num_workers)[number]
    words[:] = -1
    worker = _Worker(number, work, arena, words)
    with suppress(BrokenPipeError):  # the loop is gone, or has closed: nobody wants this result
        _serve(worker, words, task_fd, result_fd)


def _serve(worker: _Worker, words: NDArray[np.int64], task_fd: int, result_fd: int) -> None:
    while record := os.read(task_fd, RECORD.size):
        task = TaskRecord.from_bytes(record)
        words[CLAIM] = task.id
        started = perf_counter_ns()
        kind, value = worker.run(task)
        write_record(result_fd, task.id, kind, value, perf_counter_ns() - started)
        words[CLAIM] = -1


def _become_worker(number: int, work: Work, base_seed: int) -> None:
    """What torch does at the start of a worker, as far as user code can see it."""
    signal.signal(
        signal.SIGINT, _ignore
    )  # Ctrl-C is the loop's; a handler, so that programs started here get the default
    torch.set_num_threads(1)
    seed_worker(base_seed + number)
    info = torch_worker.WorkerInfo(
        id=number, num_workers=work.num_workers, seed=base_seed + number, dataset=work.dataset
    )
    torch_worker._worker_info = info
    torch_collate.default_collate_fn_map[torch.Tensor] = _stack


def _ignore(*_: object) -> None:
    return None


def _stack(batch: Any, *, collate_fn_map: Any = None) -> torch.Tensor:
    """torch's own collate of tensors, except that it takes no shared memory of its own: ours is filled from it."""
    if batch[0].is_nested or batch[0].layout is not torch.strided:
        torch_collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)  # raises torch's own error
    return torch.stack(batch, 0)


class _Worker:
    def __init__(self, number: int, work: Work, arena: Arena, words: NDArray[np.int64]) -> None:
        self._where = f"in DataLoader worker process {number}"
        self._number, self._work, self._has_streamed = number, work, False
        self._arena = arena
        self._writers: dict[tuple[int, int, int, int], RowWriter] = {}
        self._headers: dict[int, SlotHeader] = {}
        self._failure: BaseException | None = None
        try:
            open_handles()
            if work.worker_init_fn is not None:
                work.worker_init_fn(number)
            self._fetcher = Fetcher(
                work
            )  # sees the dataset after the user's function, which may put generators into the dataset
            self._fetcher.on_row = _publisher(words)
        except Exception as error:
            self._failure = error

    def run(self, task: TaskRecord) -> tuple[Kind, int]:
        """The kind of the result, and its word: a layout's digest, or nothing."""
        header = self._headers.get(task.slot)
        if header is None:
            header = self._headers[task.slot] = SlotHeader(self._arena.slot(task.slot))
        if self._failure is not None:
            return self._send(task.slot, header, Kind.ERROR, self._failure)
        if task.whole:
            spec = header.read_spec()
            if spec.stream is not None:
                self._begin_stream(spec.epoch)
            kind, value = run_whole(self._fetcher, spec)
            return self._send(task.slot, header, kind, value)
        try:
            return Kind.ROWS, self._write_rows(task, header)
        except Exception:  # the whole batch will raise it again, with its own traceback
            return Kind.MISFIT, 0

    def _begin_stream(self, epoch: int) -> None:
        """A worker that persists draws, in each stream after its first, what a new worker would."""
        if self._has_streamed:
            seed_worker(worker_seed(self._work.seed, epoch, self._work.num_workers) + self._number)
        self._has_streamed = True

    def _write_rows(self, task: TaskRecord, header: SlotHeader) -> int:
        start = header.data_offset()

        def open_writer(layout: Layout, num_rows: int) -> RowWriter:
            return self._open_writer(task.slot, start, layout, num_rows)

        layout = self._fetcher.write_rows(header.read_spec(), task.start, task.stop, open_writer)
        if not header.write_layout(layout):
            raise MisfitError
        return layout.digest

    def _open_writer(self, slot: int, start: int, layout: Layout, num_rows: int) -> RowWriter:
        key = (slot, start, id(layout), num_rows)
        writer = self._writers.get(key)
        if writer is None:
            if len(self._writers) > 4 * self._arena.num_slots:
                self._writers.clear()
            _, num_bytes = layout.offsets(num_rows)
            self._arena.reserve(slot, start + num_bytes)
            memory = self._arena.slot(slot)[start : start + num_bytes]
            writer = self._writers[key] = RowWriter(layout, memory, num_rows)
        return writer

    def _send(self, slot: int, header: SlotHeader, kind: Kind, value: Any) -> tuple[Kind, int]:
        try:
            parcel = self._error_parcel(value) if kind is Kind.ERROR else pack_value(value)
            self._write(slot, header, parcel)
        except Exception as error:  # a batch that does not pickle, or does not fit: an error, not a hang
            kind, parcel = Kind.ERROR, self._error_parcel(error)
            self._write(slot, header, parcel)
        return kind, parcel.num_bytes

    def _write(self, slot: int, header: SlotHeader, parcel: Parcel) -> None:
        start = header.data_offset()
        self._arena.reserve(slot, start + parcel.num_bytes)
        parcel.write(self._arena.slot(slot)[start:])

    def _error_parcel(self, error: BaseException) -> Parcel:
        remote = RemoteError.of(error, self._where)
        try:
            return pack_value(remote)
        except Exception:
            return pack_value(remote.without_type())


def _publisher(words: NDArray[np.int64]) -> Callable[[int], None]:
    def publish(row: int) -> None:
        words[ROW] = row

    return publish
