"""What does a Python list of a million strings cost in the memory of four workers, and does it grow?

    python benchmarks/memory.py

Figures are the summed proportional set size (shared pages counted once) of the worker processes and the process that forked them, net
of the same processes with a dataset that holds nothing.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import psutil
from compare import single_threaded
from torch.utils.data import DataLoader, Dataset

import stoker

WORKERS, BATCH = 4, 1000


class Strings(Dataset[int]):
    """Sample i is the length of string i."""

    def __init__(self, items: list[str], length: int) -> None:
        self.items = items
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return len(self.items[index]) if self.items else 0


def helpers_bytes() -> int:
    """Memory of all processes below this one, shared pages counted once."""
    return sum(int(child.memory_full_info().pss) for child in psutil.Process().children(recursive=True))


def measure(loader: Any, epochs: int) -> list[int]:
    """Bytes after each epoch, while the workers are up."""
    figures = []
    for _ in range(epochs):
        for _batch in loader:
            pass
        figures.append(helpers_bytes())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--torch", action="store_true", help="measure torch's DataLoader beside it")
    arguments = parser.parse_args()
    single_threaded()
    items = [f"images/class {number % 1000}/{number:07d}.jpg" for number in range(arguments.strings)]
    one_copy = sys.getsizeof(items) + sum(map(sys.getsizeof, items))
    kinds: dict[str, Any] = {"stoker": lambda dataset: stoker.Loader(dataset, executor="process", seed=0, **common)}
    common: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": WORKERS, "persistent_workers": True}
    if arguments.torch:
        kinds["torch"] = lambda dataset: DataLoader(dataset, **common)
    for name, make in kinds.items():
        empty = measure(make(Strings([], arguments.strings)), 1)[-1]
        loader = make(Strings(items, arguments.strings))
        figures = [figure - empty for figure in measure(loader, arguments.epochs)]
        del loader
        text = ", ".join(f"{figure / 2**20:.0f}" for figure in figures)
        print(f"{name}: {text} MiB after each epoch; one copy in this process is {one_copy / 2**20:.0f} MiB")
        if name == "stoker":
            ratio, growth = figures[-1] / one_copy, (figures[-1] - figures[0]) / one_copy
    print(f"  growth from the first to the last epoch: {growth:+.2f} copies")
    print(f"  ratio {ratio:.2f} of one copy (goal at most 1.3, {'met' if ratio <= 1.3 else 'MISSED'})")


if __name__ == "__main__":
    main()
