"""How far an epoch is, and what it has cost so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from stoker.engine.protocol import BatchSpec
from stoker.engine.stream import StreamProgress


@dataclass
class Progress:
    """How far an epoch is. `step` counts the batches handed out from its beginning without a gap, `ahead` those beyond a gap.

    `sampler_state` is a user's sampler's own, as of the last batch handed out. `last` is that batch's spec. `streams` is set
    where an iterable dataset is read; `step` is then no more than the number of batches.
    """

    epoch: int
    step: int = 0
    ahead: set[int] = field(default_factory=set)
    sampler_state: Any = None
    streams: StreamProgress | None = None
    last: BatchSpec | None = None
    ended: bool = False

    def count(self, spec: BatchSpec) -> None:
        """One more batch was handed out."""
        self.last = spec
        if self.streams is not None:
            self.streams.count(spec.worker or 0, spec.sampler_state)
            self.step += 1
            return
        self.sampler_state = spec.sampler_state
        if spec.step != self.step:
            self.ahead.add(spec.step)
            return
        self.step += 1
        while self.ahead and self.step in self.ahead:
            self.ahead.discard(self.step)
            self.step += 1


@dataclass
class Meter:
    """What an epoch has cost so far; times in seconds."""

    batches: int = 0
    samples: int = 0
    wait_s: float = 0.0
    started: float = field(default_factory=perf_counter)

    def summary(self) -> dict[str, Any]:
        """The figures, and what follows from them."""
        elapsed_s = max(perf_counter() - self.started, 1e-9)
        return {
            "batches": self.batches,
            "samples": self.samples,
            "samples_per_s": self.samples / elapsed_s,
            "wait_s": self.wait_s,
            "wait_share": self.wait_s / elapsed_s,
        }
