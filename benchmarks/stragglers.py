"""Does a slow sample hold up the others? Two process workers each, torch's DataLoader beside stoker's Loader.

    python benchmarks/stragglers.py

First: every second batch of 32 takes ten times as long, batches in order. Then: the time to the first batch of 64
samples of 20 ms each, with workers that are up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from time import perf_counter
from typing import Any

import torch
from compare import Local, alternate, judge, report, single_threaded
from torch.utils.data import DataLoader, Dataset

import stoker


class Sleepy(Dataset[torch.Tensor]):
    """Sample i takes `seconds(i)`."""

    def __init__(self, length: int, fast_s: float, slow_s: float, batch: int) -> None:
        self.length, self.fast_s, self.slow_s, self.batch = length, fast_s, slow_s, batch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.slow_s if index // self.batch % 2 else self.fast_s)
        return torch.full((16,), index)


def loaders(dataset: Dataset[Any], batch_size: int) -> tuple[Any, Any]:
    common: dict[str, Any] = {"batch_size": batch_size, "num_workers": 2, "persistent_workers": True, "in_order": True}
    return stoker.Loader(dataset, executor="process", seed=0, **common), DataLoader(dataset, **common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    single_threaded()
    print("every second batch of 32 ten times slower (0.5 and 5 ms a sample), in order")
    ours, theirs = loaders(Sleepy(32 * 40, 0.0005, 0.005, 32), 32)
    contenders = Local("torch, 2 workers", 40, lambda: theirs), Local("stoker, 2 processes", 40, lambda: ours)
    alternate(contenders, arguments.rounds)
    report(contenders, 32)
    judge(contenders[1], contenders[0], 1.7)
    print("first batch of 64 samples of 20 ms, workers up")
    ours, theirs = loaders(Sleepy(256, 0.02, 0.02, 64), 64)
    times: dict[Any, list[float]] = {ours: [], theirs: []}
    for round_number in range(arguments.rounds + 1):
        ours.set_epoch(10 * (round_number + 1))  # nothing of this epoch has been prepared
        for loader in (theirs, ours):
            started = perf_counter()
            iterator = iter(loader)
            next(iterator)
            if round_number:
                times[loader].append(perf_counter() - started)
            for _ in iterator:
                pass
    first, their_first = statistics.median(times[ours]), statistics.median(times[theirs])
    print(f"  torch {their_first:.3f} s, stoker {first:.3f} s")
    share = first / their_first
    print(f"  ratio {share:.2f} of torch's time (goal at most 0.55, {'met' if share <= 0.55 else 'MISSED'})")


if __name__ == "__main__":
    main()
