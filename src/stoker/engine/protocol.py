"""What the parts of the engine say to each other.

`Loader` describes the `Work` once. For each batch the order makes a `BatchSpec`; delivery cuts it into `Task`s and
submits them; an `Executor` runs tasks, in any order, on whatever it has, and hands back one `Result` for each.
Executors only run tasks: ordering, back-pressure, failures and replays live in `stoker.engine.delivery` alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.batch.layout import Layout
from stoker.engine.failures import ErrorPolicy, Skipped


@dataclass(frozen=True)
class Work:
    """What every worker needs to know, the same for all batches of a loader.

    Attributes:
        dataset: as the user gave it, map-style or iterable.
        collate_fn: what makes a batch of a list of samples (of one sample where `batched` is False).
        batched: whether samples are put together into batches; False for ``batch_size=None``.
        stacks_rows: whether rows may be written straight into the batch (torch's own ``default_collate``).
        iterable: whether the dataset is iterable; then `batch_size` and `drop_last` cut its stream.
        seed: the loader's seed. `reseed` is "sample" (every sample has its own randomness) or "worker" (torch's own
            seeding).
        replace_from: how many samples a skipped one may be replaced from (training); None drops it (evaluation).
    """

    dataset: Any
    collate_fn: Callable[[Any], Any]
    batched: bool
    stacks_rows: bool
    iterable: bool
    batch_size: int | None
    drop_last: bool
    seed: int
    reseed: str
    on_error: ErrorPolicy
    replace_from: int | None
    num_workers: int
    worker_init_fn: Callable[[int], Any] | None = None


@dataclass(frozen=True)
class StreamStart:
    """Where one worker's stream of an iterable dataset begins: after `batches`, in the dataset's own `state` (None: it has none)."""

    batches: int = 0
    state: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class BatchSpec:
    """One batch to be made: the samples `indices`, whose first row stands at global `position` of `epoch`.

    `indices` is an int64 array, or a list where a user's sampler yields something else; it has one element where
    batches are not put together, and none for iterable datasets. `worker` is set where only that worker can make the
    batch (iterable datasets). `poisoned` holds rows that are known to kill their worker and are treated as failed
    samples. `stream` is set on a worker's first batch of an iterable dataset, whose stream then begins there.
    `sampler_state` is what the sampler's, or the stream's, own state is after this batch.
    """

    epoch: int
    step: int
    position: int
    indices: NDArray[np.int64] | Sequence[Any]
    worker: int | None = None
    poisoned: tuple[int, ...] = ()
    stream: StreamStart | None = None
    sampler_state: Any = None
    valid: bool = True

    @property
    def num_rows(self) -> int:
        return len(self.indices)


class Kind(enum.IntEnum):
    """What came of a task."""

    ROWS = 0  # rows stand in the slot, as `layout` says
    VALUE = 1  # a whole batch
    MISFIT = 2  # these rows cannot be written one by one: make the whole batch as one task
    ERROR = 3  # `value` is the exception
    EXHAUSTED = 4  # an iterable dataset has ended in this worker
    EMPTY = 5  # every sample was skipped: there is no batch


@dataclass(slots=True, eq=False)
class Task:
    """Rows ``[start, stop)`` of the batch in `slot`; with `whole`, the collated batch as one value."""

    id: int
    spec: BatchSpec
    slot: int
    start: int
    stop: int
    whole: bool


@dataclass(slots=True, eq=False)
class Result:
    """The outcome of task `task_id`. `value` is the exception of an ERROR; that of a VALUE is read by `Executor.open_value`."""

    task_id: int
    kind: Kind
    elapsed_ns: int
    layout: Layout | None = None
    value: Any = None


class Executor(Protocol):
    """Runs tasks. Every method is called by the thread that runs the loop, and by no other.

    `num_workers` is how many tasks run at once.
    """

    num_workers: int

    def start(self, work: Work, epoch: int, num_slots: int) -> None:
        """Gets ready to run tasks of `work` over `num_slots` slots. Called once, before anything else."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Takes tasks; never blocks. They are begun in the order in which they were submitted."""

    def next_result(self, timeout_s: float | None) -> Result | None:
        """Waits for the next result; None after `timeout_s` seconds without one."""

    def open_rows(self, slot: int, layout: Layout, spec: BatchSpec) -> Any:
        """The finished batch of rows in `slot`, which the user owns from now on; the slot is the executor's again."""

    def open_value(self, slot: int, result: Result) -> tuple[Any, list[Skipped]]:
        """The finished batch of a VALUE result and the samples it skipped; as `open_rows` for the rest."""

    def acquire_slot(self) -> int | None:
        """A slot for a new batch; None when all are in use."""

    def release_slot(self, slot: int) -> None:
        """Takes back a slot whose batch was not opened."""

    def cancel(self, slots: Iterable[int]) -> None:
        """Forgets all submitted tasks at once; their results never arrive, and `slots` are the executor's again.

        Used when a loop is left early. Tasks that run already may go on; their slots are free when they end.
        """

    def describe(self) -> str:
        """What each worker is doing now, in words, for the message of a timeout."""

    def close(self) -> None:
        """Ends all workers and gives back everything. May be called twice."""
