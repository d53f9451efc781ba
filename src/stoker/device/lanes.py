"""Lanes: how a batch gets to a device.

A lane with a stream of its own overlaps copies with the loop's compute. What keeps that right:

- The copy is made from pinned memory, and a reference to it is held until the copy's event has passed: nobody may write to
  that memory before.
- The loop's stream waits for the event before the batch is handed out, so the loop needs no synchronisation.
- Every tensor handed out is recorded on the loop's stream (`record_stream`): when the loop drops it, the allocator does not
  give its memory to the lane's next copy before the loop's kernels are done with it.
- What cannot be recorded, objects with a ``.to()`` of their own and tensors that are not dense, is copied on the loop's
  stream, when the batch is handed out: always right, and without overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data._utils.pin_memory import pin_memory

from stoker.device.nested import map_batch
from stoker.errors import ArgumentError

Transform = Callable[[Any], Any]


@dataclass
class Sent:
    """A batch on its way; `event` has passed when it is there."""

    value: Any
    event: Any = None


class Lane(Protocol):
    """Takes batches to a device. Used by one thread."""

    device: torch.device

    def send(self, batch: Any, transform: Transform | None) -> Sent:
        """Begins the copy, and `transform` after it; does not wait."""

    def receive(self, sent: Sent) -> Any:
        """The batch, for the stream that is current now."""

    def describe(self) -> str:
        """In a few words."""


class PlainLane:
    """For devices without streams: the CPU, mps, meta. A copy is made where it is asked for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, batch: Any, transform: Transform | None) -> Sent:
        def to(part: Any) -> Any:
            return part.to(self.device)

        moved = map_batch(batch, to, to)
        return Sent(moved if transform is None else transform(moved))

    def receive(self, sent: Sent) -> Any:
        return sent.value

    def describe(self) -> str:
        return "copied as it is handed out" if self.device.type != "cpu" else "batches stay where they are"


class StreamLane:
    """For devices with streams.

    Args:
        device: with its index.
        backend: ``torch.cuda``, or a module with the same ``Stream``, ``Event``, ``stream`` and ``current_stream``.
    """

    def __init__(self, device: torch.device, backend: Any) -> None:
        self.device = device
        self._backend = backend
        self._stream = backend.Stream(device)
        self._in_flight: deque[tuple[Any, Any]] = deque()  # an event, and the memory that is read until it passes

    def send(self, batch: Any, transform: Transform | None) -> Sent:
        self._forget_arrived()
        pinned = map_batch(batch, self._pinned, lambda part: part)
        event, loop = self._backend.Event(), self._backend.current_stream(self.device)
        with self._backend.stream(self._stream):
            moved = map_batch(pinned, lambda tensor: self._copied(tensor, loop), lambda part: part)
            if transform is not None:
                moved = transform(moved)
            event.record(self._stream)
        self._in_flight.append((event, pinned))
        return Sent(moved, event)

    def receive(self, sent: Sent) -> Any:
        current = self._backend.current_stream(self.device)
        current.wait_event(sent.event)

        def settled(tensor: torch.Tensor) -> torch.Tensor:
            if not _is_dense(tensor):
                return tensor.to(self.device)
            if tensor.device == self.device:
                tensor.record_stream(current)
            return tensor

        return map_batch(sent.value, settled, self._opaque_copied)

    def describe(self) -> str:
        return "from pinned memory, on a stream of its own, while the loop computes"

    def _forget_arrived(self) -> None:
        while self._in_flight and self._in_flight[0][0].query():
            self._in_flight.popleft()

    def _pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.pin_memory() if tensor.device.type == "cpu" and _is_dense(tensor) else tensor

    def _copied(self, tensor: torch.Tensor, loop: Any) -> torch.Tensor:
        if not _is_dense(tensor):
            return tensor
        if tensor.device == self.device:  # the loop's stream may still be making it, and `transform` reads it here
            self._stream.wait_stream(loop)
            tensor.record_stream(self._stream)
            return tensor
        return tensor.to(self.device, non_blocking=True)

    def _opaque_copied(self, part: Any) -> Any:
        return pin_memory(part).to(self.device)


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


_WITH_STREAMS = ("cuda", "xpu")


def lane_for(device: torch.device) -> Lane:
    """A new lane to `device`. Initialises its backend."""
    if device.type not in _WITH_STREAMS:
        return PlainLane(device)
    backend = getattr(torch, device.type)
    index: int | None = device.index
    return StreamLane(torch.device(device.type, backend.current_device() if index is None else index), backend)


def as_device(device: Any) -> torch.device:
    """The device of that name.

    Raises:
        ArgumentError: it is none, or this machine has none.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"device must be a torch device such as 'cuda', 'cuda:1' or 'cpu'; got {device!r}."
        ) from error
    backend = getattr(torch, found.type, None)
    is_available = getattr(backend, "is_available", None)
    if is_available is not None and not is_available():
        raise ArgumentError(
            f"device={device!r} is not available on this machine; torch.{found.type}.is_available() says so."
        )
    return found
