"""Ahead: begins the copies of the batches to come, and hands batches out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stoker.device.lanes import Lane, Sent, Transform


@dataclass
class Pulled:
    """What a source gave: a batch and what is done to it on the device; `note` is the source's own."""

    batch: Any
    transform: Transform | None = None
    note: Any = None


@dataclass
class _Entry:
    sent: Sent | None = None
    note: Any = None
    error: Exception | None = None


class Ahead:
    """A queue of batches on their way to a device. Used by one thread.

    An error of the source is raised at its place: after the batches before it were handed out. An interrupt
    (KeyboardInterrupt) while the queue is filled is raised at once, and no batch is lost by it.

    Args:
        lane: to the device.
        depth: batches on their way, at most, while the loop has one.
        pull: the next batch of the source; None at its end.
        is_ready: whether the source has one now. Where it has not, the loop does not wait for a batch that it has not asked for.
        note_error: what is noted of an error, at the time when it is raised.
    """

    def __init__(
        self,
        lane: Lane,
        depth: int,
        pull: Callable[[], Pulled | None],
        is_ready: Callable[[], bool] = lambda: True,
        note_error: Callable[[], Any] = lambda: None,
    ) -> None:
        self._lane, self._depth = lane, depth
        self._pull, self._is_ready, self._note_error = pull, is_ready, note_error
        self._queue: deque[_Entry] = deque()
        self._stopped = False  # at an error or the end: nothing is pulled before that was handed out
        self.note: Any = None
        """Of what was handed out last, an error too."""

    def next(self) -> tuple[Any] | None:
        """The next batch, on the device, in a tuple; None at the end."""
        if not self._queue:
            self._take()
        entry = self._queue.popleft()
        try:
            self._fill()
        except BaseException:
            self._queue.appendleft(entry)
            raise
        self.note = entry.note
        if entry.sent is not None:
            return (self._lane.receive(entry.sent),)
        self._stopped = bool(self._queue)
        if entry.error is not None:
            raise entry.error
        return None

    def clear(self) -> None:
        """Forgets what was not handed out."""
        self._queue.clear()
        self._stopped = False

    def _fill(self) -> None:
        while len(self._queue) < self._depth and not self._stopped and self._ready():
            self._take()

    def _ready(self) -> bool:
        try:
            return self._is_ready()
        except Exception as error:
            self._stop(error)
            return False

    def _take(self) -> None:
        try:
            pulled = self._pull()
            if pulled is not None:
                sent = self._lane.send(pulled.batch, pulled.transform)
        except Exception as error:
            self._stop(error)
            return
        if pulled is None:
            self._stop(None)
        else:
            self._queue.append(_Entry(sent, pulled.note))

    def _stop(self, error: Exception | None) -> None:
        self._queue.append(_Entry(note=self._note_error() if error is not None else None, error=error))
        self._stopped = True
