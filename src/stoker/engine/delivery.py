"""Delivery: cuts batches into tasks, keeps workers busy, and hands batches out in order.

This is the one place that knows about order, back-pressure, failures and replays; executors only run tasks. All workers
help the oldest unfinished batch first, because tasks are begun in the order in which they were submitted: one slow
sample does not hold up a batch behind it, and the first batch arrives as soon as all workers together can make it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stoker.engine.failures import ErrorPolicy, SkipLedger
from stoker.engine.protocol import BatchSpec, Executor, Kind, Result, Task
from stoker.engine.stream import Streamed
from stoker.errors import MemoryLimitError, WorkerError

_TASK_NS = 4_000_000  # of work per task: long beside the 20 µs that a task costs, short beside a batch
_MAX_TASKS = 1024  # outstanding at once; see engine.processes.wire.MAX_OUTSTANDING_TASKS
_MAX_TASKS_PER_WORKER = 4  # that one batch is cut into

DEEP_PREFETCH = 16
"""Batches ahead where they are made in less than a millisecond: with fewer, workers fall asleep between them."""
_QUICK_NS, _SMALL_BYTES = 1_000_000, 1 << 20


@dataclass(frozen=True)
class Limits:
    """What delivery may use: `prefetch` batches ahead, `memory_bytes` for them, and `timeout_s` of waiting (None: for ever)."""

    prefetch: int
    memory_bytes: int | None = None
    timeout_s: float | None = None
    in_order: bool = True


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch in the making. It is finished when no task is outstanding and `result` is set."""

    spec: BatchSpec
    slot: int
    outstanding: int = 0
    result: Result | None = None
    misfit: bool = False

    @property
    def finished(self) -> bool:
        return not self.outstanding and self.result is not None


@dataclass(slots=True)
class Delivered:
    """A batch as it reaches the loop."""

    spec: BatchSpec
    value: Any


class Delivery:
    """Delivers the batches of a stream of `BatchSpec`s, made by an executor. Used by one thread."""

    def __init__(self, executor: Executor, limits: Limits, *, writes_rows: bool, policy: ErrorPolicy) -> None:
        self._executor = executor
        self._limits = limits
        self._writes_rows = writes_rows
        self._ledger = SkipLedger(policy)
        self._specs: Iterator[BatchSpec] = iter(())
        self._epoch = 0
        self.failed: BatchSpec | None = None
        """The batch whose error `next` has raised; the batches after it can still be had."""
        self._pending: deque[_Batch] = deque()
        self._by_task: dict[int, tuple[_Batch, int]] = {}  # with the number of rows
        self._next_task = 0
        self._row_ns = 0.0  # moving average of the time that one row takes
        self._prefetch = limits.prefetch if limits.memory_bytes is None else min(2, limits.prefetch)
        self._batch_bytes = 0
        self._affordable = self._prefetch
        self._exhausted: set[int | None] = set()

    def begin(self, specs: Iterator[BatchSpec], epoch: int, step: int) -> dict[str, Any] | None:
        """Delivers `specs` from now on, the first of which is (epoch, step), up to the end of that epoch. Returns None.

        Specs may go on into later epochs: their first batches are then made while the last ones of this epoch are used.
        When the batch that is asked for is being made already, for that reason, nothing is begun anew.
        """
        self._epoch = epoch
        ahead = self._pending[0].spec if self._pending else None
        if ahead is not None and (ahead.epoch, ahead.step) == (epoch, step):
            return None
        self.cancel()
        self._specs = specs
        self._exhausted.clear()
        return None

    def next(self) -> Delivered | None:
        """The next batch; None at the end of the epoch.

        Raises:
            the error of a sample, with its own type; WorkerError when workers died, hung, or cannot be had.
        """
        while True:
            self._fill()
            batch = self._next_finished()
            if batch is None:
                return None
            delivered = self._open(batch)
            if delivered is not None:
                self._fill()  # while the loop is busy with this batch, the workers have something to do
                return delivered

    def ready(self) -> bool:
        """Whether `next` has an answer now, without waiting for a worker.

        Raises:
            as `next` does.
        """
        self._fill()
        while self._pending and self._pending[0].spec.epoch == self._epoch:
            if (self._pending[0] if self._limits.in_order else self._first_finished()).finished:
                return True
            result = self._executor.next_result(0)
            if result is None:
                return False
            self._take(result)
        return True

    def cancel(self) -> None:
        """Forgets all batches that were not handed out; returns at once, even where workers are busy."""
        self._specs = iter(())
        self._executor.cancel([batch.slot for batch in self._pending])
        self._pending.clear()
        self._by_task.clear()

    @property
    def num_pending(self) -> int:
        """Batches that are being made, or are ready."""
        return len(self._pending)

    @property
    def batch_bytes(self) -> int:
        """Bytes of the largest batch of rows so far; 0 before the first one, or where batches are not rows."""
        return self._batch_bytes

    # Filling

    def _fill(self) -> None:
        if len(self._pending) > self._prefetch // 2 and self._prefetch > self._limits.prefetch:
            return  # many small batches: they are submitted together, so that workers are woken once for all
        tasks: list[Task] = []
        self._add_batches(tasks)
        if tasks:
            self._executor.submit(tasks)

    def _add_batches(self, tasks: list[Task]) -> None:
        executor = self._executor
        while (
            len(self._pending) < self._prefetch
            and len(self._by_task) < _MAX_TASKS - _MAX_TASKS_PER_WORKER * executor.num_workers
        ):
            slot = executor.acquire_slot()
            if slot is None:
                return
            spec = self._next_spec()
            if spec is None:
                executor.release_slot(slot)
                return
            batch = _Batch(spec, slot)
            self._pending.append(batch)
            tasks += self._cut(batch)

    def _next_spec(self) -> BatchSpec | None:
        """The next batch to be made, past those of workers whose stream has ended; None at the end."""
        if len(self._exhausted) >= max(1, self._executor.num_workers):
            return None
        spec = next(self._specs, None)
        while spec is not None and spec.worker in self._exhausted:
            spec = next(self._specs, None)
        return spec

    def _cut(self, batch: _Batch) -> list[Task]:
        num_rows = batch.spec.num_rows
        if not self._writes_rows or num_rows == 0 or batch.spec.poisoned:
            return [self._task(batch, 0, num_rows, whole=True)]
        rows = self._rows_per_task(num_rows)
        starts = range(0, num_rows, rows)
        return [self._task(batch, start, min(start + rows, num_rows), whole=False) for start in starts]

    def _rows_per_task(self, num_rows: int) -> int:
        """As many rows as take a few milliseconds; before anything is known, so many that all workers get some."""
        pieces = _MAX_TASKS_PER_WORKER * self._executor.num_workers
        fewest = -(-num_rows // pieces)
        return min(num_rows, max(fewest, int(_TASK_NS / self._row_ns))) if self._row_ns else fewest

    def _task(self, batch: _Batch, start: int, stop: int, *, whole: bool) -> Task:
        task = Task(self._next_task, batch.spec, batch.slot, start, stop, whole)
        self._next_task += 1
        self._by_task[task.id] = batch, stop - start
        batch.outstanding += 1
        return task

    # Results

    def _next_finished(self) -> _Batch | None:
        pending = self._pending
        while pending and pending[0].spec.epoch == self._epoch:
            batch = pending[0] if self._limits.in_order else self._first_finished()
            if batch.finished:
                if batch is pending[0]:
                    pending.popleft()
                else:
                    pending.remove(batch)
                return batch
            result = self._executor.next_result(self._limits.timeout_s)
            if result is None:
                raise WorkerError(self._timeout_text())
            self._take(result)
        return None

    def _first_finished(self) -> _Batch:
        """The first batch of this epoch that is finished, or any of its batches where none is."""
        mine = (batch for batch in self._pending if batch.spec.epoch == self._epoch)
        return next((batch for batch in mine if batch.finished), self._pending[0])

    def _take(self, result: Result) -> None:
        batch, num_rows = self._by_task.pop(result.task_id)
        batch.outstanding -= 1
        if result.kind is Kind.ROWS:
            self._learn(batch, result, num_rows)
            agreed = batch.result is None or batch.result.layout == result.layout
            batch.misfit = batch.misfit or not agreed
        elif result.kind is Kind.MISFIT:
            batch.misfit = True
        elif result.kind is Kind.EXHAUSTED:
            self._exhausted.add(batch.spec.worker)
        batch.result = result
        if batch.misfit and not batch.outstanding:  # nobody writes to the slot now: make the batch as one value
            batch.misfit, batch.result = False, None
            self._executor.submit([self._task(batch, 0, batch.spec.num_rows, whole=True)])

    def _learn(self, batch: _Batch, result: Result, num_rows: int) -> None:
        assert result.layout is not None
        ns = result.elapsed_ns / num_rows
        self._row_ns = ns if not self._row_ns else 0.9 * self._row_ns + 0.1 * ns
        num_bytes = result.layout.row_bytes * batch.spec.num_rows
        if num_bytes > self._batch_bytes:
            self._batch_bytes = num_bytes
            self._affordable = _affordable(num_bytes, self._limits)
        quick = self._batch_bytes < _SMALL_BYTES and self._row_ns * batch.spec.num_rows < _QUICK_NS
        wanted = max(self._limits.prefetch, DEEP_PREFETCH) if quick else self._limits.prefetch
        self._prefetch = min(wanted, self._affordable)

    def _open(self, batch: _Batch) -> Delivered | None:
        """The batch for the loop; None where there is nothing to hand out. The slot is the executor's again in any case."""
        result, executor = batch.result, self._executor
        assert result is not None
        if result.kind is Kind.ROWS:
            assert result.layout is not None
            return Delivered(batch.spec, executor.open_rows(batch.slot, result.layout, batch.spec))
        if result.kind in (Kind.VALUE, Kind.EMPTY):
            value, skipped = executor.open_value(batch.slot, result)
            self._ledger.record(skipped)
            if type(value) is Streamed:
                batch.spec.sampler_state, value = value.state, value.batch
            return Delivered(batch.spec, value) if result.kind is Kind.VALUE else None
        executor.release_slot(batch.slot)
        if result.kind is Kind.ERROR:
            self.failed = batch.spec
            raise result.value
        return None

    def _timeout_text(self) -> str:
        batch = self._pending[0]
        indices = list(batch.spec.indices[:4])
        return (
            f"DataLoader timed out after {self._limits.timeout_s:g} seconds: epoch {batch.spec.epoch}, batch {batch.spec.step} "
            f"(samples {', '.join(map(str, indices))}{', …' if batch.spec.num_rows > 4 else ''}) is not finished. "
            f"{self._executor.describe()}"
        )


def _affordable(batch_bytes: int, limits: Limits) -> int:
    """How many batches of that size fit the memory limit."""
    if limits.memory_bytes is None:
        return 1 << 30
    fits = limits.memory_bytes // max(1, batch_bytes)
    if fits < 1:
        raise MemoryLimitError(
            f"a batch of {batch_bytes:,} bytes does not fit the memory limit of {limits.memory_bytes:,} bytes; "
            "use a smaller batch_size or raise memory_limit."
        )
    return fits
