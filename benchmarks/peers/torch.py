"""torch's DataLoader with torchvision's transforms: what people write today."""

from __future__ import annotations

import sys

from peers.protocol import Channel


def main(folder: str, batch_size: int, num_workers: int) -> None:
    channel = Channel()
    from torch.utils.data import DataLoader
    from torchvision_shim import import_torchvision

    import_torchvision()
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.RandomResizedCrop(224, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    dataset = ImageFolder(folder, transforms.Compose(steps))
    loader = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=num_workers, persistent_workers=True, drop_last=True
    )
    channel.serve(lambda: loader)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
