"""The images of batches of all shapes, and their captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.batch.pictures import pictures_of
from stoker.errors import DataError

IMAGES = torch.zeros(2, 3, 8, 9)
LABELS = torch.tensor([1, 0])


@pytest.mark.parametrize(
    ("batch", "captions"),
    [
        ([IMAGES, LABELS], ["dog", "cat"]),
        ((LABELS, IMAGES), ["dog", "cat"]),
        ({"weight": torch.rand(2), "pixels": IMAGES.numpy(), "meta": {"y": LABELS}}, ["dog", "cat"]),
        ([IMAGES.permute(0, 2, 3, 1), torch.tensor([5, 0])], ["5", "cat"]),
        ([IMAGES, ["a", "b"]], ["a", "b"]),
        ([IMAGES[:, 0].byte(), torch.rand(2)], ["#0", "#1"]),
        (IMAGES, ["#0", "#1"]),
        ([[IMAGES[0], IMAGES[1]], LABELS], ["dog", "cat"]),
        ([Image.new("RGB", (4, 4))], ["#0"]),
    ],
)
def test_images_and_labels_are_found_in_a_batch(batch: Any, captions: list[str]) -> None:
    found = pictures_of(batch, ["cat", "dog"])
    assert [caption for _, caption in found] == captions


def test_the_images_are_the_rows_of_the_batch() -> None:
    images = torch.arange(2 * 3 * 8 * 9).reshape(2, 3, 8, 9)
    assert all(torch.equal(found, row) for (found, _), row in zip(pictures_of(images), images, strict=True))


@pytest.mark.parametrize("label", [1, torch.tensor(1), np.int64(1) + np.zeros((), int)])
def test_a_batch_that_is_one_sample_has_one_picture(label: Any) -> None:
    assert [caption for _, caption in pictures_of((IMAGES[0], label), ["cat", "dog"], is_batched=False)] == ["dog"]


@pytest.mark.parametrize(
    ("batch", "held"),
    [
        ([torch.zeros(2, 128), LABELS], r"float32 \[2, 128\], int64 \[2\]"),
        ({"text": ["a", "b"]}, "str, str"),
        ([], "nothing"),
        (torch.zeros(2, 7, 8, 9), r"float32 \[2, 7, 8, 9\]"),
    ],
)
def test_a_batch_without_images_says_what_it_holds(batch: Any, held: str) -> None:
    with pytest.raises(DataError, match=f"there is no image in the batch, .* it holds {held}"):
        pictures_of(batch)
