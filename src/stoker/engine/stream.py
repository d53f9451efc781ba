"""Streams: an iterable dataset as one worker reads it, its state, and what is said when it is longer than it reported.

A stream has torch's semantics: every worker iterates a copy of the dataset, which may ask ``get_worker_info()`` for its
share, and the workers take turns. A dataset or an iterator with `state_dict` and `load_state_dict` is asked for its
state after each batch; a resume gives it back. One without is read again up to where it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import IterDataPipe, graph_settings

from stoker.engine.protocol import StreamStart, Work
from stoker.errors import StateError
from stoker.order.keys import derive


class ExhaustedError(Exception):
    """The iterable dataset has no further batch."""


@dataclass(frozen=True)
class Streamed:
    """A batch of a stream with a state, and the state after it."""

    batch: Any
    state: dict[str, Any]


class Stream:
    """One run through the iterable dataset of `work`, from `start` on."""

    def __init__(self, work: Work, start: StreamStart, epoch: int) -> None:
        self._work = work
        if isinstance(work.dataset, IterDataPipe):  # all its shards shuffle alike, as torch has it
            shared = torch.Generator().manual_seed(derive(work.seed, epoch) >> 1)
            graph_settings.apply_random_seed(work.dataset, shared)
        state = start.state or {}
        if state.get("dataset") is not None:
            work.dataset.load_state_dict(state["dataset"])
        self._iterator: Iterator[Any] = iter(work.dataset)
        if state.get("iterator") is not None:
            self._iterator.load_state_dict(state["iterator"])  # type: ignore[attr-defined]
        self._ended = False
        for _ in range(0 if state else start.batches):
            with suppress(ExhaustedError, Exception):  # a batch that failed then was counted, and fails again
                self._next()

    def next(self) -> Any:
        """The next batch, as `Streamed` where there is a state.

        Raises:
            ExhaustedError: there is none.
        """
        batch, state = self._next(), self.state()
        return batch if state is None else Streamed(batch, state)

    def state(self) -> dict[str, Any] | None:
        """The state of the dataset and of its iterator, as far as they have one; None where neither has."""
        dataset, iterator = self._work.dataset, self._iterator
        state = {"iterator": iterator.state_dict()} if _has_state(iterator) else {}  # type: ignore[attr-defined]
        if iterator is not dataset and _has_state(dataset):
            state["dataset"] = dataset.state_dict()
        return state or None

    def _next(self) -> Any:
        work = self._work
        if not work.batched:
            return work.collate_fn(self._sample())
        samples: list[Any] = []
        batch_size = work.batch_size or 1
        while len(samples) < batch_size:
            try:
                samples.append(self._sample())
            except ExhaustedError:
                break
        if not samples or (work.drop_last and len(samples) < batch_size):
            raise ExhaustedError
        return work.collate_fn(samples)

    def _sample(self) -> Any:
        if self._ended:  # an iterator may have more to give after its end, but this run is over
            raise ExhaustedError
        try:
            return next(self._iterator)
        except StopIteration:
            self._ended = True
            raise ExhaustedError from None


def _has_state(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


@dataclass
class StreamProgress:
    """How far each worker's stream was read by the loop; `turn` is the worker whose batch comes next."""

    starts: list[StreamStart]
    turn: int = 0

    @staticmethod
    def of(num_workers: int) -> StreamProgress:
        """The beginning of `num_workers` streams (one where there are no workers)."""
        return StreamProgress([StreamStart() for _ in range(max(1, num_workers))])

    def count(self, worker: int, state: dict[str, Any] | None) -> None:
        """One more batch of `worker` was handed out; `state` is the one after it, None where there is none or it failed."""
        start = self.starts[worker]
        self.starts[worker] = StreamStart(start.batches + 1, start.state if state is None else state)
        self.turn = (worker + 1) % len(self.starts)

    def begin(self, state: dict[str, Any] | None) -> None:
        """Takes the state that the only stream has before its first batch."""
        if len(self.starts) == 1 and state is not None and self.starts[0].state is None:
            self.starts[0] = StreamStart(self.starts[0].batches, state)

    def to_state(self) -> dict[str, Any]:
        """As a part of the loader's state; can be JSON where the dataset's own state can."""
        workers = [{"batches": start.batches, "state": copy.deepcopy(start.state)} for start in self.starts]
        return {"turn": self.turn, "workers": workers}

    @staticmethod
    def from_state(value: Any, num_workers: int) -> StreamProgress:
        """The inverse of `to_state`.

        Raises:
            StateError: it is damaged, or of another number of workers.
        """
        try:
            turn, workers = int(value["turn"]), value["workers"]
            starts = [StreamStart(int(worker["batches"]), copy.deepcopy(worker["state"])) for worker in workers]
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"the state's 'sampler' must say where each worker's stream is; got {value!r}.") from error
        if len(starts) != max(1, num_workers):
            raise StateError(
                f"the state was taken from {len(starts)} stream(s) of an iterable dataset, and this loader has "
                f"{max(1, num_workers)}: each worker reads a share of its own, so a resume needs the same num_workers."
            )
        return StreamProgress(starts, turn % len(starts))


@dataclass(frozen=True)
class ReportedLength:
    """What an iterable dataset said its length was, when the loader was asked for its own."""

    dataset: Any
    length: int | None
    num_workers: int

    def check(self, fetched: int) -> None:
        """Warns, in torch's words, when more batches than that have come."""
        if self.length is None or fetched <= self.length:
            return
        message = (
            f"Length of IterableDataset {self.dataset} was reported to be {self.length}"
            f"(when accessing len(dataloader)), but {fetched} samples have been fetched. "
        )
        if self.num_workers > 0:
            message += (
                "For multiprocessing data-loading, this could be caused by not properly configuring the "
                "IterableDataset replica at each worker. Please see "
                "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
            )
        warnings.warn(message, stacklevel=3)
