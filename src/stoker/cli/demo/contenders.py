"""Three ways to load one folder: a naive loop, torch's DataLoader with the usual transform, and stoker.Loader."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import stoker
from stoker.data import Dataset as StokerDataset
from stoker.errors import ImageError
from stoker.image import Pipeline, RandomHorizontalFlip, RandomResizedCrop

SIZE = 224  # pixels, the side of what the transform gives


@dataclass
class Contender:
    """A way to load the folder. `batches()` is an epoch: uint8 images [rows, 3, SIZE, SIZE], with labels or without."""

    name: str
    batches: Callable[[], Iterable[Any]]
    images_per_s: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Images per second."""
        return statistics.median(self.images_per_s)

    def take_turn(self) -> None:
        """Loads an epoch, and then one against the clock.

        The first uses up what workers have prepared while others had their turn: a loader that prepares the next epoch
        ahead would else be given that work for nothing.
        """
        self._load()
        self.images_per_s.append(self._load())

    def _load(self) -> float:
        started, count = perf_counter(), 0
        for batch in self.batches():
            count += len(images_of(batch))
        return count / (perf_counter() - started)


def contenders(folder: StokerDataset, paths: Sequence[str], batch_size: int, num_workers: int) -> list[Contender]:
    """The three, in the order in which they are told of. `folder` has a column `image`; `paths` are its files."""
    plain = PlainFolder(paths)
    torch_loader = DataLoader(
        plain, batch_size=batch_size, shuffle=True, num_workers=num_workers, persistent_workers=True
    )
    pipeline = Pipeline(RandomResizedCrop(SIZE), RandomHorizontalFlip())
    loader = stoker.Loader(
        folder.map(image=pipeline),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=True,
        seed=0,
    )
    return [
        Contender("naive loop", lambda: naive_loop(plain, batch_size)),
        Contender(f"DataLoader, {num_workers} workers", lambda: torch_loader),
        Contender(f"stoker.Loader, {num_workers} workers", lambda: loader),
    ]


def race(runners: Sequence[Contender], rounds: int) -> Iterator[Contender]:
    """Runs the contenders in turn; yields each before its turn."""
    for _ in range(rounds):
        for contender in runners:
            yield contender
            contender.take_turn()


def images_of(batch: Any) -> torch.Tensor:
    """The images of a batch: its first column, or all of it where there are no labels."""
    images: torch.Tensor = batch if isinstance(batch, torch.Tensor) else batch[0]
    return images


def naive_loop(dataset: PlainFolder, batch_size: int) -> Iterator[torch.Tensor]:
    """What a first training script does: one image after another, stacked when there are enough."""
    for chunk in torch.randperm(len(dataset)).split(batch_size):
        yield torch.stack([dataset[index] for index in chunk.tolist()])


class PlainFolder(Dataset[torch.Tensor]):
    """Images as most scripts read them: Pillow, then the usual transform."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self.transform = usual_transform()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        path = self.paths[index]
        try:
            image = Image.open(path).convert("RGB")
        except OSError as error:
            raise ImageError(f"{path} cannot be read as an image; remove it or mend it. ({error})") from error
        return self.transform(image)


def usual_transform() -> Callable[[Image.Image], torch.Tensor]:
    """Random crop, resize and flip on a PIL image, by torchvision where it imports, else by the same steps by hand."""
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision whose operators do not match this torch
        return crop_resize_flip
    composed: Callable[[Image.Image], torch.Tensor] = v2.Compose(
        [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )
    return composed


def crop_resize_flip(image: Image.Image) -> torch.Tensor:
    """The usual transform by hand: area 8–100 %, aspect ratio 3/4–4/3, bilinear, flipped half of the time."""
    area = image.width * image.height * float(torch.empty(1).uniform_(0.08, 1.0))
    ratio = math.exp(float(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3))))
    width = min(image.width, max(1, round(math.sqrt(area * ratio))))
    height = min(image.height, max(1, round(math.sqrt(area / ratio))))
    left = int(torch.randint(0, image.width - width + 1, ()))
    top = int(torch.randint(0, image.height - height + 1, ()))
    crop = image.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    if torch.rand(()) < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1).contiguous()
