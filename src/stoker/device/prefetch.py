"""A device iterator for any iterable of batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stoker.device.ahead import Ahead, Pulled
from stoker.device.lanes import as_device, lane_for
from stoker.errors import ArgumentError


def prefetch(
    iterable: Iterable[Any], device: Any, *, depth: int = 1, transform: Callable[[Any], Any] | None = None
) -> Prefetcher:
    """The batches of `iterable` on `device`, `depth` of them copied ahead of the loop.

    Args:
        iterable: a loader of any make, a generator, a list. Batches may be tensors, dicts, lists, tuples, named tuples,
            dataclasses, objects with a ``.to(device)``, and those in each other; what is none of these stays as it is.
        device: as torch names it: "cuda", "cuda:1", "cpu" …
        depth: batches that are asked for and copied before the loop asks for them.
        transform: run over each batch on the device, behind its copy.

    Raises:
        ArgumentError: the device is not there, or depth is less than 1.
    """
    return Prefetcher(iterable, device, depth=depth, transform=transform)


class Prefetcher(Iterable[Any]):
    """What `prefetch` returns. Each ``iter()`` iterates the source anew; one pass at a time keeps the state.

    Where the source has a `state_dict`, so has this: it describes what the loop was given, although the source was asked
    for more. Attributes that it does not have are the source's (``len()``, `dataset`, `set_epoch` …).
    """

    def __init__(
        self, iterable: Iterable[Any], device: Any, *, depth: int = 1, transform: Callable[[Any], Any] | None = None
    ) -> None:
        if depth < 1:
            raise ArgumentError(f"depth must be at least 1; got {depth}.")
        self.source, self.device, self.depth, self.transform = iterable, as_device(device), depth, transform
        self._state: Any = None

    def __iter__(self) -> Iterator[Any]:
        source = iter(self.source)

        def pull() -> Pulled | None:
            try:
                batch = next(source)
            except StopIteration:
                return None
            return Pulled(batch, self.transform, self._source_state())

        ahead = Ahead(lane_for(self.device), self.depth, pull, note_error=self._source_state)
        ahead.note = self._state = self._source_state()
        return _Pass(self, ahead)

    def _source_state(self) -> Any:
        return copy.deepcopy(self.source.state_dict()) if hasattr(self.source, "state_dict") else None

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """The source's state as of the last batch handed out.

        Raises:
            AttributeError: the source has none.
        """
        state: dict[str, Any] = self.source.state_dict() if self._state is None else self._state  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next pass goes on where `state` was taken, as the source does it."""
        self.source.load_state_dict(state)  # type: ignore[attr-defined]
        self._state = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "source" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.__dict__["source"], name)


class _Pass(Iterator[Any]):
    def __init__(self, owner: Prefetcher, ahead: Ahead) -> None:
        self._owner, self._ahead = owner, ahead

    def __next__(self) -> Any:
        try:
            batch = self._ahead.next()
        finally:
            self._owner._state = self._ahead.note
        if batch is None:
            raise StopIteration
        return batch[0]
