"""What do small samples cost? A million rows of 100 float32, shuffled, torch's DataLoader beside stoker's Loader.

python benchmarks/rows.py
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from compare import Local, alternate, judge, report, single_threaded
from torch.utils.data import DataLoader, TensorDataset

import stoker


def compare(
    title: str, dataset: TensorDataset, batch_size: int, batches: int, rounds: int, goal: float, torch_workers: int
) -> None:
    print(title)
    common: dict[str, Any] = {"batch_size": batch_size, "shuffle": True}
    theirs = DataLoader(dataset, num_workers=torch_workers, persistent_workers=torch_workers > 0, **common)
    ours = stoker.Loader(dataset, seed=0, **common)
    slow, fast = max(8, batches // 20), batches  # torch needs no more batches for a steady figure
    contenders = (
        Local(f"torch, {torch_workers} workers", slow, lambda: theirs),
        Local("stoker", fast, lambda: ours),
    )
    alternate(contenders, rounds)
    report(contenders, batch_size)
    judge(contenders[1], contenders[0], goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    single_threaded()
    dataset = TensorDataset(torch.randn(arguments.rows, 100))
    epoch = arguments.rows // 64
    compare("batch 64, torch in its own process", dataset, 64, epoch - 1, arguments.rounds, 10, 0)
    compare("batch 64, torch with 2 workers", dataset, 64, epoch - 1, arguments.rounds, 60, 2)
    compare("batch 1024, torch in its own process", dataset, 1024, epoch // 16 - 1, arguments.rounds, 20, 0)


if __name__ == "__main__":
    main()
