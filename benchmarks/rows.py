"""What do small samples cost? Rows in memory and in files, shuffled, torch's DataLoader beside stoker's Loader.

python benchmarks/rows.py [--only files]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from compare import Local, alternate, judge, report, single_threaded
from row_files import Case, cases
from torch.utils.data import DataLoader, TensorDataset

import stoker

BATCH = 64


def compare_memory(
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


def compare_file(case: Case, rounds: int) -> None:
    """Both in the same order of samples, each without and with workers, of which the quicker counts."""
    print(case.title)
    rows = len(case.order) // BATCH * BATCH
    batches = case.order[:rows].reshape(-1, BATCH).tolist()

    def torch_loader(workers: int) -> Local:
        loader = DataLoader(case.theirs, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0)
        return Local(f"torch, {workers} workers", len(batches), lambda: loader)

    def our_loader(workers: int) -> Local:
        loader = stoker.Loader(case.ours, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0)
        return Local(f"stoker, {workers} workers: {loader.stats()['executor']}", len(batches), lambda: loader)

    theirs, ours = [torch_loader(0), torch_loader(2)], [our_loader(0), our_loader(2)]
    alternate((*theirs, *ours), rounds)
    report((*theirs, *ours), BATCH)
    judge(_quickest(ours), _quickest(theirs), case.goal)


def _quickest(contenders: list[Local]) -> Local:
    return max(contenders, key=lambda contender: contender.rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in memory")
    parser.add_argument("--file-rows", type=int, default=51_200, help="in each file; those take about 300 MiB then")
    parser.add_argument("--only", choices=["memory", "files"])
    arguments = parser.parse_args()
    single_threaded()
    if arguments.only != "files":
        dataset = TensorDataset(torch.randn(arguments.rows, 100))
        epoch = arguments.rows // 64
        compare_memory("batch 64, torch in its own process", dataset, 64, epoch - 1, arguments.rounds, 10, 0)
        compare_memory("batch 64, torch with 2 workers", dataset, 64, epoch - 1, arguments.rounds, 60, 2)
        compare_memory("batch 1024, torch in its own process", dataset, 1024, epoch // 16 - 1, arguments.rounds, 20, 0)
    if arguments.only != "memory":
        with tempfile.TemporaryDirectory() as folder:
            for make in cases(Path(folder), arguments.file_rows):
                compare_file(make(), arguments.rounds)


if __name__ == "__main__":
    main()
