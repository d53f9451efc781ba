"""Measures contenders in one run, in turn, and prints the ratios of their medians.

Absolute figures of a shared machine are no result; the ratio of two things that ran in turn is.
"""

from __future__ import annotations

import os
import resource
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import psutil
import torch


@dataclass(frozen=True)
class Turn:
    """What one round of a contender gave. CPU time and memory are those of its processes together."""

    batches_per_s: float
    first_batch_s: float
    cpu_s: float
    peak_bytes: int


@dataclass
class Contender(ABC):
    """One of the things compared, which yields `batches` batches in a round."""

    name: str
    batches: int
    turns: list[Turn] = field(default_factory=list, init=False)
    warm_up: Turn | None = field(default=None, init=False)

    @abstractmethod
    def take_turn(self) -> Turn:
        """Runs one round."""

    @property
    def rate(self) -> float:
        """Batches per second, the median of all turns but the warm-up."""
        return statistics.median(turn.batches_per_s for turn in self.turns)


@dataclass
class Local(Contender):
    """A loader in this process. `epoch()` gives an iterable, of which `batches` batches are taken per round.

    Take a whole epoch where batches take long to make: what a loader still has in its workers when a round ends early is
    made while another one is measured. The rate counts from the first batch on.
    """

    epoch: Callable[[], Iterable[Any]]
    consume: Callable[[Any], object] | None = None

    def take_turn(self) -> Turn:
        cpu_before, started = own_cpu_s(), perf_counter()
        count, first = 0, 0.0
        iterator = iter(self.epoch())
        for batch in iterator:
            if not count:
                first = perf_counter()
            if self.consume is not None:
                self.consume(batch)
            count += 1
            if count == self.batches:
                break
        ended = perf_counter()
        peak_bytes = tree_bytes(psutil.Process())
        batch = None  # a lent batch would be kept over the end of its workers
        del iterator
        return Turn((count - 1) / (ended - first), first - started, own_cpu_s() - cpu_before, peak_bytes)


def single_threaded() -> None:
    """torch's and OpenCV's own threads off, here and in processes started from now on: all loaders have the same cores."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENCV_FOR_THREADS_NUM="1")
    torch.set_num_threads(1)


def alternate(contenders: Sequence[Contender], rounds: int) -> None:
    """Runs all in turn, `rounds` times, after a round each to warm up."""
    for contender in contenders:
        contender.warm_up = contender.take_turn()
    for _ in range(rounds):
        for contender in contenders:
            contender.turns.append(contender.take_turn())


def report(contenders: Sequence[Contender], samples_per_batch: int) -> None:
    """Prints a line for each."""
    for contender in contenders:
        turns = contender.turns
        cpu_s = statistics.median(turn.cpu_s for turn in turns) / (contender.batches * samples_per_batch)
        cold = "" if contender.warm_up is None else f", at first {contender.warm_up.first_batch_s:.2f} s"
        print(
            f"  {contender.name:<34}{contender.rate:>10,.0f} batches/s {contender.rate * samples_per_batch:>12,.0f} samples/s"
            f"{cpu_s * 1e6:>10,.1f} µs CPU/sample"
            f"   first batch {statistics.median(turn.first_batch_s for turn in turns):.3f} s{cold}"
            f"   peak {max(turn.peak_bytes for turn in turns) / 2**20:,.0f} MiB"
        )


def judge(ours: Contender, theirs: Contender, goal: float) -> None:
    """Prints the ratio of the two medians, and whether it reaches the goal."""
    ratio = ours.rate / theirs.rate
    print(f"  ratio {ratio:.2f} (goal {goal:g}, {'met' if ratio >= goal else 'MISSED'})")


def tree_cpu_s(root: psutil.Process) -> float:
    """CPU time of a process and of all its descendants, living or waited for; whole clock ticks."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return total


def tree_bytes(root: psutil.Process) -> int:
    """Memory of a process and its descendants, shared pages counted once (proportional set size)."""
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def own_cpu_s() -> float:
    """CPU time of this process, exactly, and of all children, living or waited for."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total
