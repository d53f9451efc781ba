"""The process executor: the loop's end of a set of worker processes."""

from __future__ import annotations

import array
import fcntl
import multiprocessing
import os
import select
import signal
import termios
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import Any

from stoker.batch.layout import Layout
from stoker.batch.parcel import buffer_sizes, open_parcel
from stoker.batch.slots import SMALL_BYTES
from stoker.engine.budget import available_memory_bytes
from stoker.engine.failures import RemoteError, Skipped
from stoker.engine.processes.launch import ContextLauncher, Death, Launch, Launcher, ZygoteLauncher
from stoker.engine.processes.payload import InheritanceError
from stoker.engine.processes.wire import (
    CLAIM,
    MAX_OUTSTANDING_TASKS,
    RECORD,
    ROW,
    SlotHeader,
    TaskRecord,
    control_words,
)
from stoker.engine.protocol import Kind, Result, Task, Work
from stoker.engine.seeding import worker_seed
from stoker.engine.slotted import LENT_SLOTS, SlottedExecutor
from stoker.errors import WorkerError

_MAX_KILLS = 3  # workers that one row may take with it
_MAX_IDLE_DEATHS = 3  # deaths in a row without a single result: the workers cannot run at all
_RECORDS_PER_WRITE = select.PIPE_BUF // RECORD.size
_SETTLE_S = 0.02  # between reading a record and claiming it a worker needs microseconds


class ProcessExecutor(SlottedExecutor):
    """`num_workers` processes that take tasks from one pipe (from one each where a task names its worker)."""

    max_outstanding = MAX_OUTSTANDING_TASKS

    def __init__(self, num_workers: int, context: BaseContext | None = None) -> None:
        self.num_workers = num_workers
        self._launcher: Launcher = ZygoteLauncher() if context is None else ContextLauncher(context)
        self._tasks: dict[int, Task] = {}
        self._results: deque[Result] = deque()
        self._layouts: dict[int, Layout] = {}
        self._kills: dict[tuple[int, int], int] = {}
        self._deaths_since_result = 0

    def start(self, work: Work, epoch: int, num_slots: int) -> None:
        self._work = work
        arena = self._open_arena(num_slots, extra=1)  # the last one is the control block
        self._words = control_words(arena, self.num_workers)
        self._words[:] = -1
        self._headers = [SlotHeader(arena.slot(slot)) for slot in range(num_slots + LENT_SLOTS)]
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(self.num_workers if work.iterable else 1)]
        self._task_reads = [read for read, _ in pipes]
        self._task_writes = [write for _, write in pipes]
        self._result_read, self._result_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._result_read, False)
        fds = [*self._task_reads, *self._task_writes, self._result_read, self._result_write]
        base_seed = worker_seed(work.seed, epoch, self.num_workers)
        loop_fds = [*self._task_writes, self._result_read]
        self._launch(Launch(work, base_seed, arena, self._task_reads, self._result_write, loop_fds), fds)
        self._poll = select.poll()
        self._watch()

    def _launch(self, launch: Launch, fds: list[int]) -> None:
        self._finalizer = weakref.finalize(self, _close, os.getpid(), self._launcher, fds)
        try:
            self._launcher.start(launch)
        except InheritanceError:
            if "fork" not in multiprocessing.get_all_start_methods():
                raise
            self._finalizer.detach()  # nothing was started; fork from here, as torch does: the dataset asks for it
            self._launcher = ContextLauncher(multiprocessing.get_context("fork"))
            self._finalizer = weakref.finalize(self, _close, os.getpid(), self._launcher, fds)
            self._launcher.start(launch)

    def _watch(self) -> None:
        self._poll = select.poll()
        for fd in (self._result_read, *self._launcher.wait_fds()):
            self._poll.register(fd, select.POLLIN)

    def submit(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.whole or task.start == 0:
                self._headers[task.slot].write_spec(task.spec)
            self._began(task.slot)
            self._tasks[task.id] = task
        self._send(tasks)

    def _send(self, tasks: Sequence[Task]) -> None:
        """Writes as many records at once as a pipe takes whole: a write that wakes a worker costs more than a small batch."""
        if self._work.iterable:
            for task in tasks:
                os.write(self._task_writes[task.spec.worker or 0], _record(task))
            return
        for start in range(0, len(tasks), _RECORDS_PER_WRITE):
            records = b"".join(map(_record, tasks[start : start + _RECORDS_PER_WRITE]))
            os.write(self._task_writes[0], records)

    def _resend(self, task: Task) -> None:
        self._tasks[task.id] = self._tasks.pop(task.id)  # the dictionary's order is that of the pipe
        self._send([task])

    def next_result(self, timeout_s: float | None) -> Result | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._results:
            self._read_results()
            if self._results:
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = self._poll.poll(None if left is None else left * 1000)
            if not ready and left is not None:
                return None
            if any(fd != self._result_read for fd, _ in ready):
                self._handle_deaths()
        return self._results.popleft()

    def _read_results(self) -> None:
        try:
            data = os.read(self._result_read, 128 * RECORD.size)
        except BlockingIOError:
            return
        self._deaths_since_result = 0
        for task_id, kind, word, elapsed_ns in RECORD.iter_unpack(data):
            task = self._tasks.pop(task_id, None)
            if task is not None and self._ended(task.slot):
                self._results.append(self._result(task, Kind(kind), word, elapsed_ns))

    def _result(self, task: Task, kind: Kind, word: int, elapsed_ns: int) -> Result:
        if kind is Kind.ROWS:
            layout = self._layouts.get(word)
            if layout is None:
                layout = self._headers[task.slot].read_layout(word)
                if layout is None:
                    return Result(task.id, Kind.MISFIT, elapsed_ns)
                self._layouts[word] = layout
            return Result(task.id, kind, elapsed_ns, layout)
        if kind is Kind.ERROR:
            remote: RemoteError = open_parcel(self._parcel(task.slot), keep_large=False)
            return Result(task.id, kind, elapsed_ns, None, remote.rebuild())
        return Result(task.id, kind, elapsed_ns, None, word)

    def _parcel(self, slot: int) -> Any:
        return self.arena.slot(slot)[self._headers[slot].data_offset() :]

    def _data_offset(self, slot: int) -> int:
        return self._headers[slot].data_offset()

    def open_value(self, slot: int, result: Result) -> tuple[Any, list[Skipped]]:
        start, num_bytes = self._data_offset(slot), result.value
        memory = self.arena.slot(slot)[start : start + num_bytes]
        lends = any(size >= SMALL_BYTES for size in buffer_sizes(memory)) and self._pool.can_lend()
        if lends:
            memory = self._pool.lend(slot, start, num_bytes)
        value: tuple[Any, list[Skipped]] = open_parcel(memory, keep_large=lends)
        if not lends:
            self._pool.release(slot)
        return value

    def cancel(self, slots: Iterable[int]) -> None:
        if not self._finalizer.alive:
            return  # at the interpreter's exit, workers may end before the loop's iterator
        self._read_results()
        self._results.clear()
        for fd in self._task_reads:
            for record in _take_back(fd):
                self._forget(TaskRecord.from_bytes(record).id)
        self._cancel_slots(slots)

    def _forget(self, task_id: int) -> None:
        task = self._tasks.pop(task_id, None)
        if task is not None:
            self._ended(task.slot)

    def describe(self) -> str:
        return " ".join(self._describe_worker(number) for number in range(self.num_workers))

    def _describe_worker(self, number: int) -> str:
        claim, row = self._words[number, CLAIM], self._words[number, ROW]
        task = self._tasks.get(int(claim))
        if task is None:
            return f"Worker {number} is idle."
        known = 0 <= row < task.spec.num_rows
        return (
            f"Worker {number} is on sample {task.spec.indices[row]}."
            if known
            else f"Worker {number} is on batch {task.spec.step}."
        )

    def close(self) -> None:
        self._finalizer()
        self._tasks.clear()
        self._results.clear()

    # Workers that die

    def _handle_deaths(self) -> None:
        for death in self._launcher.deaths():
            self._read_results()
            self._deaths_since_result += 1
            if self._work.iterable:
                raise WorkerError(f"{_obituary(death)}. The stream of an iterable dataset cannot be replayed.")
            self._replace(death)
        self._watch()

    def _replace(self, death: Death) -> None:
        claimed = self._tasks.get(int(self._words[death.number, CLAIM]))
        row = int(self._words[death.number, ROW])
        self._words[death.number] = -1
        if claimed is None and self._deaths_since_result > _MAX_IDLE_DEATHS:
            raise WorkerError(
                f"{_obituary(death)} while it started, and so did those before it. Its output stands above."
            )
        self._launcher.respawn(death.number)
        if claimed is not None:
            self._replay(claimed, row, death)
        for task in self._lost():
            self._resend(task)

    def _replay(self, task: Task, row: int, death: Death) -> None:
        row = max(row, task.start)
        place = task.spec.epoch, task.spec.position + row
        self._kills[place] = kills = self._kills.get(place, 0) + 1
        if kills < _MAX_KILLS:
            self._resend(task)
            return
        index = task.spec.indices[row]
        if not self._work.on_error.skips:
            raise WorkerError(
                f"{_obituary(death)} while loading sample {index}. That sample has now ended {kills} workers."
                f"{_memory_evidence(death)} Load it alone (dataset[{index}]) to see why, or pass on_error='skip' to leave it out."
            )
        task.spec.poisoned = (*task.spec.poisoned, row)
        self._forget(task.id)
        self._results.append(Result(task.id, Kind.MISFIT, 0))

    def _lost(self) -> list[Task]:
        """Tasks that are neither in a pipe nor claimed: their reader died before it could claim them."""
        lost = self._unclaimed()
        if lost:
            time.sleep(_SETTLE_S)
            self._read_results()
            lost &= self._unclaimed()
        return [self._tasks[task_id] for task_id in sorted(lost)]

    def _unclaimed(self) -> set[int]:
        sent = list(self._tasks)
        queued = sum(_readable_bytes(fd) for fd in self._task_reads) // RECORD.size
        claimed = set(self._words[:, CLAIM].tolist())
        return {task_id for task_id in sent[: len(sent) - queued] if task_id not in claimed}


def _record(task: Task) -> bytes:
    return TaskRecord(task.id, task.slot, task.start, task.stop, task.whole).to_bytes()


def _close(owner: int, launcher: Launcher, fds: list[int]) -> None:
    if os.getpid() != owner:
        return  # a forked copy of the loop's process: the workers are not its own
    launcher.close()
    for fd in fds:
        os.close(fd)


def _take_back(pipe: int) -> Iterator[bytes]:
    """The records that no worker has read yet. Whoever reads one has it: workers may be reading at the same time."""
    try:
        # A file description of our own: O_NONBLOCK on the shared one would hold for the workers too.
        fd = os.open(f"/proc/self/fd/{pipe}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # no /proc: the workers run these tasks, and their results are dropped
    try:
        while record := os.read(fd, RECORD.size):
            yield record
    except BlockingIOError:
        return
    finally:
        os.close(fd)


def _readable_bytes(fd: int) -> int:
    buffer = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, buffer)
    return buffer[0]


def _obituary(death: Death) -> str:
    """In torch's words, which other programs look for."""
    if death.exitcode < 0:
        return f"DataLoader worker (pid {death.pid}) is killed by signal: {_signal_name(-death.exitcode)}"
    return f"DataLoader worker (pid(s) {death.pid}) exited unexpectedly with exit code {death.exitcode}"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.strsignal(number)} ({signal.Signals(number).name})"
    except ValueError:
        return signal.strsignal(number) or str(number)


def _memory_evidence(death: Death) -> str:
    if death.exitcode != -9:
        return ""
    return f" SIGKILL often comes from a lack of memory; {available_memory_bytes() / 2**30:.1f} GiB are available now."
