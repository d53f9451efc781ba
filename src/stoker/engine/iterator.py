"""The iterator of one epoch: takes batches from delivery, keeps count for the state and the statistics, pins."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import torch
from torch.utils.data._utils.pin_memory import pin_memory

from stoker.engine.delivery import Delivered
from stoker.engine.progress import Meter, Progress
from stoker.engine.protocol import BatchSpec
from stoker.engine.session import Crew, Session
from stoker.engine.stream import ReportedLength


class LoaderIterator(Iterator[Any]):
    """The batches of one epoch. Ends its workers (or gives them back) at the end, at ``del``, and when it is left early."""

    def __init__(
        self,
        crew: Crew,
        session: Session,
        specs: Iterator[BatchSpec],
        progress: Progress,
        meter: Meter,
        *,
        pins: bool,
        wrap: Callable[[Any], Any],
        reported: ReportedLength | None = None,
        length: int | None = None,
    ) -> None:
        self._crew = crew
        self._session: Session | None = session
        self._progress = progress
        self._pins = pins
        self._meter = meter
        self._reported, self._length = reported, length
        self._delivery = wrap(session.delivery)
        self._begin(specs)

    def _begin(self, specs: Iterator[BatchSpec]) -> None:
        progress = self._progress
        state = self._delivery.begin(specs, progress.epoch, progress.step)
        if progress.streams is not None:
            progress.streams.begin(state)

    def __iter__(self) -> LoaderIterator:
        return self

    def __len__(self) -> int:
        """Batches of the whole epoch. Raises TypeError where nobody knows."""
        if self._length is None:
            raise TypeError(f"object of type {type(self).__name__!r} has no len(): the epoch's length is not known")
        return self._length

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled; pickle the loader, or its state_dict().")

    def __next__(self) -> Any:
        session, meter = self._session, self._meter
        if session is None:
            raise StopIteration
        asked = perf_counter()
        try:
            delivered = self._delivery.next()
        except BaseException as error:
            self._survive(session, error)
            raise
        meter.wait_s += perf_counter() - asked
        if delivered is None:
            self._progress.ended = True
            self._leave(finished=True)
            raise StopIteration
        meter.batches += 1
        meter.samples += delivered.spec.num_rows
        self._progress.count(delivered.spec)
        if self._reported is not None:
            self._reported.check(self._progress.step)
        return pin(delivered) if self._pins else delivered.value

    def _survive(self, session: Session, error: BaseException) -> None:
        """After a sample's error the next batch can be asked for, as in torch; after anything else the epoch is over."""
        failed = self._delivery.failed
        if failed is None or not isinstance(error, Exception):
            self._session = None
            session.close()
            return
        self._delivery.failed = None
        self._progress.count(failed)

    def restart(self, specs: Iterator[BatchSpec], progress: Progress) -> None:
        """Begins at another place instead; nothing was handed out so far."""
        self._progress = progress
        self._begin(specs)

    def close(self) -> None:
        """Leaves the epoch: nothing more is loaded."""
        self._leave()

    def _leave(self, *, finished: bool = False) -> None:
        session, self._session = self._session, None
        if session is None or not session.is_here:
            return
        if not finished:
            self._delivery.cancel()
        self._crew.dismiss(session)

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the interpreter's end modules are empty already; workers end with their pipes.
        if getattr(self, "_session", None) is not None and not _is_finalizing():
            self._leave()


def pin(delivered: Delivered) -> Any:
    """A copy of the batch in pinned memory."""
    return pin_memory(delivered.value)


def can_pin(device: str = "") -> bool:
    """Whether there is an accelerator to pin for; warns as torch does where there is none, and of a `device` that is named."""
    if device:
        message = (
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{device}'."
        )
        warnings.warn(message, stacklevel=3)
    if torch.accelerator.is_available():
        return True
    message = (
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used."
    )
    warnings.warn(message, stacklevel=3)
    return False
