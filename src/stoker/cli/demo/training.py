"""The demo's training: a small network, and what it takes to train it again, in another process, to the same end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import stoker
from stoker.cli.demo.contenders import images_of
from stoker.data import Dataset as StokerDataset
from stoker.image import Pipeline, RandomHorizontalFlip, RandomResizedCrop

_SIZE = 96  # pixels; small, for the demo is about loading
_RATE = 2e-3


@dataclass(frozen=True)
class Recipe:
    """All that decides what a training sees and learns. How many workers make its batches is no part of it.

    With `num_classes` it learns the labels; with 0 each image's average colour, which any folder teaches in seconds.
    """

    folder: str
    num_images: int
    batch_size: int
    epochs: int
    num_classes: int
    seed: int = 7

    def images(self) -> StokerDataset:
        """The images taken from the folder: evenly spread where it holds more than `num_images`."""
        folder = stoker.open(self.folder)
        return folder.select(np.linspace(0, len(folder) - 1, self.num_images).astype(np.int64))

    def loader(self, num_workers: int) -> stoker.Loader:
        """A loader of randomly cropped and flipped images (uint8), at the beginning of the first epoch."""
        pipeline = Pipeline(RandomResizedCrop(_SIZE), RandomHorizontalFlip())
        return stoker.Loader(
            self.images().map(image=pipeline),
            batch_size=self.batch_size,
            shuffle=True,
            num_workers=num_workers,
            persistent_workers=True,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Step:
    """One training step: what it saw, and what came of it."""

    digest: str
    loss: float


class Learner:
    """A small convolutional network and its optimiser, both alike in every process at the beginning.

    With `num_classes` it learns the labels; with 0, the images' average colour.
    """

    def __init__(self, num_classes: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = _small_network(num_classes or 3)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=_RATE)
        self.num_classes = num_classes

    def learn(self, batch: Any) -> float:
        """Takes one step; gives the loss before it."""
        images = images_of(batch).float() / 255
        outputs = self.network(images - 0.5)
        if self.num_classes:
            loss = nn.functional.cross_entropy(outputs, batch[1])
        else:
            loss = nn.functional.mse_loss(outputs, images.mean(dim=(2, 3)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def train(learner: Learner, loader: stoker.Loader, epochs: int) -> Iterator[Step]:
    """Trains from where `loader` stands to the end of the last epoch; yields after each step."""
    for _ in range(loader.state_dict()["epoch"], epochs):
        for batch in loader:
            yield Step(digest(batch), learner.learn(batch))


def digest(batch: Any) -> str:
    """A hash over every byte of the batch."""
    tensors = [batch] if isinstance(batch, torch.Tensor) else batch
    state = hashlib.blake2b(digest_size=6)
    for tensor in tensors:
        state.update(np.ascontiguousarray(tensor.numpy()).data)
    return state.hexdigest()


def save_checkpoint(folder: Path, recipe: Recipe, learner: Learner, loader: stoker.Loader) -> Path:
    """Writes what a new process needs; the path of the loader's state, which is JSON."""
    weights = {"network": learner.network.state_dict(), "optimizer": learner.optimizer.state_dict()}
    torch.save(weights, folder / "weights.pt")
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe)), encoding="utf-8")
    state = folder / "state.json"
    state.write_text(json.dumps(loader.state_dict()), encoding="utf-8")
    return state


def load_checkpoint(folder: Path, num_workers: int) -> tuple[Recipe, Learner, stoker.Loader]:
    """What `save_checkpoint` wrote, at the step where it was written."""
    recipe = Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    weights = torch.load(folder / "weights.pt", weights_only=True)
    learner = Learner(recipe.num_classes)
    learner.network.load_state_dict(weights["network"])
    learner.optimizer.load_state_dict(weights["optimizer"])
    loader = recipe.loader(num_workers)
    loader.load_state_dict(json.loads((folder / "state.json").read_text(encoding="utf-8")))
    return recipe, learner, loader


def _small_network(num_outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_outputs))
