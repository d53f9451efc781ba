"""A loader's batches on a device: stands before the engine's delivery, and looks like it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from stoker.device.ahead import Ahead, Pulled
from stoker.device.lanes import Lane, Transform

AHEAD = 1
"""Batches on their way while the loop has one: a copy takes less than a step, and a batch on a device is memory that the model lacks."""


class Delivered(Protocol):
    """A batch as the engine delivers it."""

    spec: Any
    value: Any


class Source(Protocol):
    """What is needed of the engine's delivery."""

    failed: Any

    def begin(self, specs: Iterator[Any], epoch: int, step: int) -> Any: ...

    def next(self) -> Any: ...

    def ready(self) -> bool: ...

    def cancel(self) -> None: ...


class DeviceDelivery:
    """Delivers on a device what `source` delivers. A batch counts as delivered when the loop gets it, not when its copy begins.

    Args:
        work_on: what is done on the device to the batch of a spec, if anything is.
    """

    def __init__(self, source: Source, lane: Lane, work_on: Callable[[Any], Transform | None]) -> None:
        self._source, self._lane, self._work_on = source, lane, work_on
        self.failed: Any = None
        self._ahead = Ahead(lane, AHEAD, self._pull, source.ready, self._failed)

    def begin(self, specs: Iterator[Any], epoch: int, step: int) -> Any:
        return self._source.begin(specs, epoch, step)

    def next(self) -> Any:
        self.failed = None
        try:
            received = self._ahead.next()
        except Exception:
            self.failed = self._ahead.note
            raise
        if received is None:
            return None
        delivered = self._ahead.note
        delivered.value = received[0]
        return delivered

    def cancel(self) -> None:
        self._ahead.clear()
        self._source.cancel()

    def _pull(self) -> Pulled | None:
        delivered = self._source.next()
        if delivered is None:
            return None
        batch, delivered.value = delivered.value, None
        return Pulled(batch, self._work_on(delivered.spec), delivered)

    def _failed(self) -> Any:
        failed, self._source.failed = self._source.failed, None
        return failed
