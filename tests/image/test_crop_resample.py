"""Crops of images in memory, a batch in one call: what resize_and_flip gives for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker._native import resample_crops
from stoker.image.decode import Box
from stoker.image.resize import resize_and_flip
from tests.image.crops import random_box
from tests.image.pictures import smooth


def resample(
    images: list[np.ndarray],
    boxes: list[Box],
    flips: list[int],
    size: tuple[int, int],
    *,
    antialias: bool = True,
    planar: bool = True,
) -> np.ndarray:
    memory = np.full((len(images), 3 * size[0] * size[1] + 7), 201, np.uint8)
    resample_crops(
        np.array([image.ctypes.data for image in images], np.uint64),
        np.array([image.shape[0] for image in images], np.int32),
        np.array([image.shape[1] for image in images], np.int32),
        np.array([(box.top, box.left, box.height, box.width) for box in boxes], np.int64).astype(np.int32),
        np.array(flips, np.uint8),
        memory.ctypes.data,
        memory.strides[0],
        *size,
        antialias,
        planar,
    )
    assert (memory[:, -7:] == 201).all()
    pixels = memory[:, :-7].reshape(len(images), *((3, *size) if planar else (*size, 3)))
    return pixels if planar else pixels.transpose(0, 3, 1, 2)


def reference(image: np.ndarray, box: Box, flips: int, size: tuple[int, int], antialias: bool) -> np.ndarray:
    crop = torch.from_numpy(image).permute(2, 0, 1)[:, box.top : box.bottom, box.left : box.left + box.width]
    return resize_and_flip(
        crop, size, antialias=antialias, horizontally=bool(flips & 1), vertically=bool(flips & 2)
    ).numpy()


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_a_batch_is_what_each_image_gives(seed: int, antialias: bool, planar: bool) -> None:
    generator = np.random.default_rng(seed)
    images = [smooth(*generator.integers(1, 90, 2).tolist(), seed=i) for i in range(4)]
    boxes = [random_box(generator, *image.shape[:2]) for image in images]
    flips = generator.integers(0, 4, 4).tolist()
    size = (boxes[0].height, boxes[0].width) if seed % 2 else tuple(generator.integers(1, 60, 2).tolist())
    pixels = resample(images, boxes, flips, size, antialias=antialias, planar=planar)
    for got, image, box, flip in zip(pixels, images, boxes, flips, strict=True):
        assert np.array_equal(got, reference(image, box, flip, size, antialias))


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 0, 4), (37, 0, 4, 4), (0, 57, 4, 4), (0, 0, 4, 2**31 - 1)])
def test_a_box_outside_of_its_image_is_refused(box: tuple[int, int, int, int]) -> None:
    images = [smooth(40, 60), smooth(40, 60)]
    with pytest.raises(ValueError, match="box 1 is not within its image"):
        resample(images, [Box(0, 0, 9, 9), Box(*box)], [0, 0], (8, 8))


def test_arrays_have_one_row_for_each_image() -> None:
    arguments: dict[str, Any] = {"target": 0, "target_stride": 3, "target_height": 1, "target_width": 1}
    with pytest.raises(ValueError, match="one row for each image: got 1 and 2"):
        resample_crops(
            np.zeros(1, np.uint64),
            np.zeros(2, np.int32),
            np.zeros(1, np.int32),
            np.zeros((1, 4), np.int32),
            np.zeros(1, np.uint8),
            antialias=True,
            planar=True,
            **arguments,
        )
