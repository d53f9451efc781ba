"""Measures two loaders in one process, alternating, and prints the ratio of their medians.

Absolute figures of a shared machine are no result; the ratio of two things that ran in turn is.
"""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import psutil
import torch


@dataclass
class Contender:
    """One of the things compared. `epoch()` gives an iterable, of which `batches` batches are taken per round.

    Take a whole epoch where batches take long to make: what a loader still has in its workers when a round ends early is
    made while the other one is measured.
    """

    name: str
    epoch: Callable[[], Iterable[Any]]
    batches: int
    rates: list[float] = field(default_factory=list)
    first_batch_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def single_threaded() -> None:
    """torch's and OpenCV's own threads off, so that two loaders have the same cores."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENCV_NUM_THREADS="1")
    torch.set_num_threads(1)


def run_round(contender: Contender, consume: Callable[[Any], object] | None, from_start: bool) -> float:
    """One round; returns batches per second, counted from the first batch on, or from the start."""
    cpu_before, started = _cpu_seconds(), perf_counter()
    count, first = 0, 0.0
    iterator = iter(contender.epoch())
    for batch in iterator:
        if not count:
            first = perf_counter()
        if consume is not None:
            consume(batch)
        count += 1
        if count == contender.batches:
            break
    ended = perf_counter()
    contender.peak_bytes = max(contender.peak_bytes, _tree_bytes())
    batch = None  # a lent batch would be kept over the end of its workers
    del iterator
    contender.first_batch_s.append(first - started)
    contender.cpu_s.append(_cpu_seconds() - cpu_before)
    return count / (ended - started) if from_start else (count - 1) / (ended - first)


def alternate(
    ours: Contender,
    theirs: Contender,
    rounds: int,
    consume: Callable[[Any], object] | None = None,
    *,
    from_start: bool = False,
) -> float:
    """Runs both in turn, after a round each to warm up; prints the figures and returns ours / theirs."""
    for number in range(rounds + 1):
        for contender in (theirs, ours):
            rate = run_round(contender, consume, from_start)
            if number:
                contender.rates.append(rate)
    return statistics.median(ours.rates) / statistics.median(theirs.rates)


def report(ours: Contender, theirs: Contender, samples_per_batch: int, ratio: float, goal: float) -> None:
    """Prints a line for each, and the ratio last."""
    for contender in (theirs, ours):
        rate = statistics.median(contender.rates)
        per_sample = statistics.median(contender.cpu_s) / (contender.batches * samples_per_batch)
        print(
            f"  {contender.name:<34}{rate:>10,.0f} batches/s {rate * samples_per_batch:>12,.0f} samples/s"
            f"{per_sample * 1e6:>10,.1f} µs CPU/sample   first batch {statistics.median(contender.first_batch_s):.3f} s"
            f"   peak {contender.peak_bytes / 2**20:,.0f} MiB"
        )
    print(f"  ratio {ratio:.2f} (goal {goal:g}, {'met' if ratio >= goal else 'MISSED'})")


def _cpu_seconds() -> float:
    """CPU time of this process and of all children, living or waited for."""
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


def _tree_bytes() -> int:
    """Memory of this process and its children, shared pages counted once (proportional set size)."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
