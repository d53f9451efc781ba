"""What does it cost to hand a batch over from a worker? Two process workers each, torch's DataLoader beside stoker's Loader.

python benchmarks/transport.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from compare import Local, alternate, judge, report, single_threaded
from torch.utils.data import DataLoader, Dataset

import stoker

BATCH = 64


class HotRow(Dataset[torch.Tensor]):
    """The same image-sized row each time: transport alone."""

    def __init__(self, length: int) -> None:
        self.row = torch.randint(0, 255, (3, 224, 224), dtype=torch.uint8)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.row


class Rows(Dataset[torch.Tensor]):
    """Rows of a tensor in memory."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.rows[index]


def compare(
    title: str,
    dataset: Dataset[Any],
    batches: int,
    rounds: int,
    goal: float,
    *,
    torch_workers: int = 2,
    keep: bool = False,
) -> None:
    print(title)
    common: dict[str, Any] = {"batch_size": BATCH, "shuffle": True}
    theirs = DataLoader(dataset, num_workers=torch_workers, persistent_workers=torch_workers > 0, **common)
    ours = stoker.Loader(dataset, num_workers=2, persistent_workers=True, executor="process", seed=0, **common)
    kept: list[Any] = []
    consume: Callable[[Any], object] | None = kept.append if keep else None
    contenders = (
        Local(f"torch, {torch_workers} workers", batches, _clearing(kept, theirs), consume),
        Local("stoker, 2 processes", batches, _clearing(kept, ours), consume),
    )
    alternate(contenders, rounds)
    report(contenders, BATCH)
    judge(contenders[1], contenders[0], goal)


def _clearing(kept: list[Any], loader: Any) -> Callable[[], Any]:
    def epoch() -> Any:
        kept.clear()
        return loader

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full work")
    arguments = parser.parse_args()
    single_threaded()
    torch.multiprocessing.set_sharing_strategy("file_descriptor")
    rounds, scale = arguments.rounds, arguments.scale
    batches = max(4, int(400 * scale))
    compare("64 × uint8 3×224×224, one hot row", HotRow(64 * batches), batches, rounds, 8)
    distinct = Rows(torch.randint(0, 255, (2048, 3, 224, 224), dtype=torch.uint8))
    compare("the same, distinct rows of 300 MB", distinct, min(batches, 32), rounds, 4)
    compare("the same, every batch kept", distinct, min(batches, 32), rounds, 2, keep=True)
    count = max(2000, int(200_000 * scale))
    small = Rows(torch.randn(count, 100))
    compare("64 × float32[100]", small, count // 64, rounds, 10)
    compare("the same, torch without workers", small, count // 64, rounds, 1, torch_workers=0)


if __name__ == "__main__":
    main()
