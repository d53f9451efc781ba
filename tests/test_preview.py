"""Loader.preview: what is drawn, and that nothing changes by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stoker
from stoker.image.sheet import contact_sheet


class Images:
    """Sample n is a picture of the shade n, labelled n % 2."""

    classes = ("even", "odd")

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((3, 12, 12), index, dtype=torch.uint8), index % 2


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def drawn(batches: list[Any], most: int) -> bytes:
    rows = [
        (image, Images.classes[label])
        for images, labels in batches
        for image, label in zip(images, labels, strict=True)
    ]
    images, captions = zip(*rows[:most], strict=True)
    return contact_sheet(images, captions).tobytes()


def test_the_preview_shows_the_batches_that_come_next(tmp_path: Path) -> None:
    loader = stoker.Loader(Images(), batch_size=4, shuffle=True, seed=3)
    loader.preview(tmp_path / "first.png", 6)
    batches = list(loader)
    assert pixels(tmp_path / "first.png") == drawn(batches, 6)


def test_in_the_middle_of_an_epoch_it_goes_on_from_there_to_the_end(tmp_path: Path) -> None:
    loader = stoker.Loader(Images(), batch_size=4, shuffle=True, seed=3)
    running = iter(loader)
    for _ in range(3):
        next(running)
    loader.preview(tmp_path / "rest.png")
    assert pixels(tmp_path / "rest.png") == drawn(list(running), 8)


def test_neither_state_nor_random_state_nor_what_follows_changes(tmp_path: Path) -> None:
    def run(*, previews: bool) -> tuple[list[Any], torch.Tensor, Any]:
        torch.manual_seed(0)
        loader = stoker.Loader(Images(), batch_size=4, shuffle=True, seed=3)
        seen = []
        for _, labels in loader:
            if previews:
                loader.preview(tmp_path / "now.png")
            seen.append(labels.tolist())
        return seen, torch.rand(1), loader.state_dict()

    assert run(previews=True) == run(previews=False)


def test_a_sampler_that_knows_no_length_can_be_previewed(tmp_path: Path) -> None:
    class Endings:
        def __iter__(self) -> Iterator[list[int]]:
            return iter([[0, 1], [2]])

    stoker.Loader(Images(), batch_sampler=Endings(), seed=0).preview(tmp_path / "few.png")
    assert np.array(Image.open(tmp_path / "few.png")).shape[1] > 3 * 160


def test_samples_without_a_batch_can_be_previewed(tmp_path: Path) -> None:
    stoker.Loader(Images(), batch_size=None, seed=0).preview(tmp_path / "one.png", 2)
    assert (tmp_path / "one.png").exists()


def test_what_cannot_be_previewed_is_told(tmp_path: Path) -> None:
    loader = stoker.Loader(Images(), batch_size=4)
    with pytest.raises(stoker.ArgumentError, match="num_samples must be at least 1; got 0"):
        loader.preview(tmp_path / "a.png", 0)
    with pytest.raises(stoker.DataError, match=r"there is no image in the batch, .* it holds int64 \[1\]"):
        stoker.Loader([1, 2, 3]).preview(tmp_path / "a.png")
    with pytest.raises(stoker.ArgumentError, match="so there is nothing to preview"):
        stoker.Loader(Images(), batch_size=40, drop_last=True).preview(tmp_path / "a.png")
