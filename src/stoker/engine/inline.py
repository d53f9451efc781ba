"""The inline executor: batches are made in the loop's own thread, when they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any

from stoker.batch.layout import Layout
from stoker.engine.failures import Skipped
from stoker.engine.fetch import EmptyBatchError, ExhaustedError, Fetcher
from stoker.engine.protocol import BatchSpec, Kind, Result, Task, Work


class InlineExecutor:
    """Runs each task when its result is asked for. The training loop's own random state is left as it was."""

    num_workers = 0

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def start(self, work: Work, epoch: int, num_slots: int) -> None:
        self._fetcher = Fetcher(work)
        self._preserves = self._fetcher.reseeds and not self._fetcher.is_bulk

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def next_result(self, timeout_s: float | None) -> Result | None:
        task = self._tasks.popleft()
        started = perf_counter_ns()
        kind, value = self._run(task.spec)
        return Result(task.id, kind, perf_counter_ns() - started, None, value)

    def _run(self, spec: BatchSpec) -> tuple[Kind, Any]:
        return run_whole(self._fetcher, spec, preserved=self._preserves)

    def acquire_slot(self) -> int | None:
        return 0

    def release_slot(self, slot: int) -> None:
        pass

    def open_rows(self, slot: int, layout: Layout, spec: BatchSpec) -> Any:
        raise AssertionError("inline tasks are whole batches")

    def open_value(self, slot: int, result: Result) -> tuple[Any, list[Skipped]]:
        value: tuple[Any, list[Skipped]] = result.value
        return value

    def cancel(self, slots: Iterable[int]) -> None:
        self._tasks.clear()

    def describe(self) -> str:
        return "It is made in the loop's own thread."

    def close(self) -> None:
        self._tasks.clear()


def run_whole(fetcher: Fetcher, spec: BatchSpec, *, preserved: bool) -> tuple[Kind, Any]:
    """Makes a whole batch; what it raises becomes a result of its kind."""
    try:
        if not preserved:
            return Kind.VALUE, fetcher.fetch(spec)
        with fetcher.preserved():
            return Kind.VALUE, fetcher.fetch(spec)
    except EmptyBatchError as empty:
        return Kind.EMPTY, (None, empty.skipped)
    except ExhaustedError:
        return Kind.EXHAUSTED, None
    except Exception as error:
        return Kind.ERROR, error
