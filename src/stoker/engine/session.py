"""Sessions: an executor at work for one loader, from the first batch to the last.

A session outlives its epoch where the workers persist; else each epoch has its own, so that workers get the dataset as
it is then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext

from stoker.engine.delivery import DEEP_PREFETCH, Delivery, Limits
from stoker.engine.fetch import Fetcher
from stoker.engine.inline import InlineDelivery
from stoker.engine.processes.pool import ProcessExecutor
from stoker.engine.protocol import Executor, Work
from stoker.engine.threads import ThreadExecutor
from stoker.errors import ArgumentError


@dataclass(frozen=True)
class Choice:
    """Which executor runs the work, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Equipment:
    """What a loader's arguments say about how its work is to be run."""

    executor: str
    num_workers: int
    limits: Limits
    context: BaseContext | None
    persistent: bool


def choose(work: Work, equipment: Equipment) -> Choice:
    """Resolves ``executor="auto"``.

    Raises:
        ArgumentError: the executor asked for cannot run this work.
    """
    asked, num_workers = equipment.executor, equipment.num_workers
    if asked not in ("auto", "inline", "thread", "process"):
        raise ArgumentError(f"executor must be 'auto', 'inline', 'thread' or 'process'; got {asked!r}.")
    if asked in ("thread", "process") and num_workers < 1:
        raise ArgumentError(f"executor={asked!r} needs num_workers of at least 1; got {num_workers}.")
    if asked == "thread" and work.iterable:
        raise ArgumentError("an iterable dataset cannot run in threads; use executor='process' or 'inline'.")
    if asked != "auto":
        return Choice(asked, "as asked for")
    if num_workers == 0:
        return Choice("inline", "num_workers is 0")
    fetcher = Fetcher(work)
    if work.worker_init_fn is None and equipment.context is None and fetcher.is_bulk and not fetcher.prefers_workers:
        return Choice("inline", "a batch is one gather from memory, and handing it over from a worker would cost more")
    return Choice("process", f"num_workers is {num_workers}")


class Session:
    """Delivery at work, and the executor behind it. One iterator uses it at a time."""

    delivery: Delivery | InlineDelivery

    def __init__(self, work: Work, equipment: Equipment, epoch: int) -> None:
        self.choice = choose(work, equipment)
        self._executor: Executor | None = None
        self._owner = os.getpid()
        self.persistent = equipment.persistent and self.choice.name != "inline"
        if self.choice.name == "inline":
            self.delivery = InlineDelivery(work)
            return
        threads = self.choice.name == "thread"
        executor: Executor = (
            ThreadExecutor(equipment.num_workers)
            if threads
            else ProcessExecutor(equipment.num_workers, equipment.context)
        )
        try:
            executor.start(work, epoch, max(DEEP_PREFETCH, equipment.limits.prefetch))
        except BaseException:
            executor.close()
            raise
        self._executor = executor
        self.delivery = Delivery(
            executor, equipment.limits, writes_rows=Fetcher(work).writes_rows, policy=work.on_error
        )

    @property
    def is_here(self) -> bool:
        """Whether this is the process that the session belongs to, and not a forked copy, whose workers they are not."""
        return os.getpid() == self._owner

    def close(self) -> None:
        """Ends the workers at once."""
        if self._executor is not None and self.is_here:
            self._executor.close()


class Crew:
    """Hands sessions to the iterators of a loader, and keeps a persistent one between them."""

    def __init__(self) -> None:
        self._idle: Session | None = None

    def engage(self, work: Callable[[], Work], equipment: Equipment, epoch: int) -> Session:
        """The idle session, or a new one: several iterators of one loader may be at work at once."""
        session, self._idle = self._idle, None
        return Session(work(), equipment, epoch) if session is None else session

    def dismiss(self, session: Session) -> None:
        """Takes back a session whose iterator is done with it."""
        if session.persistent and self._idle is None:
            self._idle = session
        else:
            session.close()

    def close(self) -> None:
        """Ends the idle session."""
        session, self._idle = self._idle, None
        if session is not None:
            session.close()

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_finalizing():  # modules are empty then; workers end with their pipes
            self.close()
