"""How fast do photographs reach the loop? torch's DataLoader with torchvision's transforms beside stoker's Loader.

    python benchmarks/images.py FOLDER

RandomResizedCrop(224), antialiased, and RandomHorizontalFlip to uint8 [3, 224, 224], batches of 64, two workers each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from compare import Contender, alternate, report, single_threaded
from torch.utils.data import DataLoader
from torchvision_shim import import_torchvision

import stoker
from stoker.image import Pipeline, RandomHorizontalFlip, RandomResizedCrop

BATCH, WORKERS = 64, 2


def torch_loader(folder: Path) -> DataLoader[Any]:
    """What people write today."""
    import_torchvision()
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.RandomResizedCrop(224, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    dataset = ImageFolder(folder, transforms.Compose(steps))
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True)


def stoker_loader(folder: Path, executor: str) -> stoker.Loader:
    """The same with stoker."""
    dataset = stoker.open(folder).map(image=Pipeline(RandomResizedCrop(224), RandomHorizontalFlip()))
    common: dict[str, Any] = {"shuffle": True, "num_workers": WORKERS, "persistent_workers": True, "drop_last": True}
    return stoker.Loader(dataset, BATCH, executor=executor, seed=0, **common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--executor", default="process", choices=["process", "thread"])
    arguments = parser.parse_args()
    single_threaded()
    print("photographs to uint8 [3, 224, 224], 2 workers each")
    ours, theirs = stoker_loader(arguments.folder, arguments.executor), torch_loader(arguments.folder)
    batches = len(theirs)
    name = f"stoker, {WORKERS} {arguments.executor}{'es' if arguments.executor == 'process' else 's'}"
    contenders = Contender(name, lambda: ours, batches), Contender(f"torch, {WORKERS} workers", lambda: theirs, batches)
    ratio = alternate(*contenders, arguments.rounds, from_start=True)
    report(*contenders, BATCH, ratio, 1.7)


if __name__ == "__main__":
    main()
