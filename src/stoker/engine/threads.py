"""The thread executor: workers share the dataset and the process, and write rows into slots.

Threads own no random generator: code that draws from the global ones, or keeps generators of its own, would draw from
those of the training loop, in an order that nobody controls. Such code is refused.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Iterable, Sequence
from time import perf_counter_ns
from typing import Any

from stoker.batch.layout import Layout, RowWriter
from stoker.engine.failures import Skipped
from stoker.engine.fetch import Fetcher, run_whole
from stoker.engine.protocol import Kind, Result, Task, Work
from stoker.engine.slotted import SlottedExecutor
from stoker.errors import ArgumentError

_EXIT_S = 1.0  # a thread that hangs cannot be ended, and must not hold up the exit
_NUM_PROBES = 2
_ADVICE = (
    "the threads of a process share one generator, so results would depend on timing. "
    "Use executor='process' (or 'auto'), or give up reproducibility with reseed='worker'."
)


class ThreadExecutor(SlottedExecutor):
    """`num_workers` threads that take tasks from one queue."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Task, Result]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, work: Work, epoch: int, num_slots: int) -> None:
        if work.iterable:
            raise ArgumentError("an iterable dataset cannot run in threads; use executor='process' or 'inline'.")
        refuse_randomness(Fetcher(work), work.dataset)
        self._open_arena(num_slots)
        for number in range(self.num_workers):
            thread = threading.Thread(
                target=self._work, args=(Fetcher(work, owns_generators=False),), name=f"stoker-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        _alive.add(self)

    def submit(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._began(task.slot)
            self._tasks.put(task)

    def next_result(self, timeout_s: float | None) -> Result | None:
        while True:
            try:
                task, result = self._results.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if self._ended(task.slot):
                return result

    def open_value(self, slot: int, result: Result) -> tuple[Any, list[Skipped]]:
        self.release_slot(slot)
        value: tuple[Any, list[Skipped]] = result.value
        return value

    def cancel(self, slots: Iterable[int]) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                break
            if task is not None:
                self._ended(task.slot)
        self._cancel_slots(slots)

    def describe(self) -> str:
        return f"{self.num_workers} threads are at work; a thread that hangs cannot be ended."

    def close(self) -> None:
        self.cancel([])
        for _ in self._threads:
            self._tasks.put(None)
        self._threads.clear()

    def join(self, timeout_s: float) -> None:
        """Closes, and waits for the tasks that run."""
        threads = list(self._threads)
        self.close()
        for thread in threads:
            thread.join(timeout_s)

    def _work(self, fetcher: Fetcher) -> None:
        while (task := self._tasks.get()) is not None:
            started = perf_counter_ns()
            layout, value = None, None
            try:
                if task.whole:
                    kind, value = run_whole(fetcher, task.spec)
                else:
                    kind, layout = Kind.ROWS, self._write_rows(fetcher, task)
            except Exception:  # the whole batch will raise it again, with its own traceback
                kind = Kind.MISFIT
            self._results.put((task, Result(task.id, kind, perf_counter_ns() - started, layout, value)))
            del task, value

    def _write_rows(self, fetcher: Fetcher, task: Task) -> Layout:
        def open_writer(layout: Layout, num_rows: int) -> RowWriter:
            _, num_bytes = layout.offsets(num_rows)
            self.arena.reserve(task.slot, num_bytes)
            return RowWriter(layout, self.arena.slot(task.slot)[:num_bytes], num_rows)

        return fetcher.write_rows(task.spec, task.start, task.stop, open_writer)


_alive: weakref.WeakSet[ThreadExecutor] = weakref.WeakSet()


def _end_all() -> None:
    """At the interpreter's exit: a thread that comes back from native code after that would end the process with an abort."""
    for executor in list(_alive):
        executor.join(timeout_s=_EXIT_S)


atexit.register(_end_all)


def refuse_randomness(fetcher: Fetcher, dataset: Any) -> None:
    """Raises ArgumentError when the dataset's code draws from random generators that threads would share.

    Code that is not known is tried on its first samples, so a draw that happens only for some samples can be missed.
    """
    if not fetcher.draws_global:
        return
    if fetcher.has_private_generators:
        raise ArgumentError(f"the dataset or its transforms hold a random generator of their own: {_ADVICE}")
    for index in range(min(_NUM_PROBES, len(dataset))):
        if fetcher.draws_at(index):
            raise ArgumentError(f"the dataset draws from random, numpy.random or torch: {_ADVICE}")
