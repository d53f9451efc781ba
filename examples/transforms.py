"""Transforms of torchvision v2 and Albumentations as they are: the same draws for any number of workers.

python examples/transforms.py [start method of the workers, if another than Stoker's own]
"""

from __future__ import annotations

import sys

import albumentations
import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from stoker import Loader


class Pictures(Dataset[torch.Tensor]):
    def __init__(self) -> None:
        self.images = np.random.default_rng(0).integers(0, 255, (24, 40, 40, 3), dtype=np.uint8)
        self.noise = albumentations.Compose(
            [albumentations.RandomBrightnessContrast(p=1), albumentations.GaussNoise(p=1)]
        )
        self.crop = v2.Compose([v2.ToImage(), v2.RandomResizedCrop(32), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.crop(self.noise(image=self.images[index])["image"]).as_subclass(torch.Tensor)


if __name__ == "__main__":
    method = sys.argv[1] if len(sys.argv) > 1 else None
    alone = list(Loader(Pictures(), 8, shuffle=True, seed=7))
    helped = list(Loader(Pictures(), 8, shuffle=True, seed=7, num_workers=2, multiprocessing_context=method))
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))
    print(f"{len(alone)} batches of {tuple(alone[0].shape)}: bit for bit the same without workers and with two")
