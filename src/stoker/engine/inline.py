"""Inline delivery: batches are made in the loop's own thread, when they are asked for. Nothing runs ahead, so nothing has to be ordered."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

from stoker.engine.delivery import Delivered
from stoker.engine.failures import SkipLedger
from stoker.engine.fetch import EmptyBatchError, Fetcher
from stoker.engine.protocol import BatchSpec, StreamStart, Work
from stoker.engine.stream import ExhaustedError, Streamed


class InlineDelivery:
    """Delivers batches without workers. The training loop's own random state is left as it was."""

    num_pending = 0
    batch_bytes = 0

    def __init__(self, work: Work) -> None:
        self._fetcher = Fetcher(work)
        self._ledger = SkipLedger(work.on_error)
        self._preserves = self._fetcher.reseeds and self._fetcher.needs_keys
        self._specs: Iterator[BatchSpec] = iter(())
        self.failed: BatchSpec | None = None

    def begin(self, specs: Iterator[BatchSpec], epoch: int, step: int) -> dict[str, Any] | None:
        """As `Delivery.begin`. An iterable dataset is entered now, as torch does; returns its own state, if it has one."""
        self._specs = specs
        if not self._fetcher.work.iterable:
            return None
        first = next(specs)
        start, first.stream = first.stream, None
        self._specs = chain([first], specs)
        return self._fetcher.begin_stream(start or StreamStart(), epoch)

    def next(self) -> Delivered | None:
        """As `Delivery.next`."""
        fetcher = self._fetcher
        for spec in self._specs:
            try:
                if self._preserves:
                    with fetcher.preserved():
                        batch, skipped = fetcher.fetch(spec)
                else:
                    batch, skipped = fetcher.fetch(spec)
            except EmptyBatchError as empty:
                self._ledger.record(empty.skipped)
                continue
            except ExhaustedError:
                return None
            except Exception:
                self.failed = spec
                raise
            if skipped:
                self._ledger.record(skipped)
            if type(batch) is Streamed:
                spec.sampler_state, batch = copy.deepcopy(batch.state), batch.batch
            return Delivered(spec, batch)
        return None

    def ready(self) -> bool:
        """Never: a batch is made when it is asked for."""
        return False

    def cancel(self) -> None:
        """As `Delivery.cancel`."""
        self._specs = iter(())
