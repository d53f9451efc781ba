"""The demo's photographs: the user's folder, or crops of the two that scikit-learn's wheel brings."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stoker.errors import DataError

CROPS_PER_PHOTOGRAPH = 200
_MIN_SIDE, _MAX_SIDE = 240, 400  # of crops, pixels: about what photographs in common training sets measure
_JPEG_QUALITY = 90


def cut_crops(root: Path, seed: int = 0) -> Iterator[Path]:
    """Cuts each of scikit-learn's photographs into JPEG crops, in a class folder of its own; yields a path for each.

    The crops are the same on every run.

    Raises:
        DataError: scikit-learn is not installed.
    """
    draw = random.Random(seed)
    for name, photograph in _sample_photographs():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(CROPS_PER_PHOTOGRAPH):
            path = folder / f"{number:03}.jpg"
            _random_crop(photograph, draw).save(path, quality=_JPEG_QUALITY)
            yield path


def num_crops() -> int:
    """How many crops `cut_crops` makes."""
    return 2 * CROPS_PER_PHOTOGRAPH


def _sample_photographs() -> list[tuple[str, NDArray[np.uint8]]]:
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise DataError(
            "the demo's own photographs come with scikit-learn, which is not installed; "
            "install stoker[demo], or name a folder of images: stoker demo DIR."
        ) from error
    samples = load_sample_images()
    return [(Path(name).stem, image) for name, image in zip(samples.filenames, samples.images, strict=True)]


def _random_crop(photograph: NDArray[np.uint8], draw: random.Random) -> Image.Image:
    height, width = draw.randint(_MIN_SIDE, _MAX_SIDE), draw.randint(_MIN_SIDE, _MAX_SIDE)
    top, left = draw.randint(0, photograph.shape[0] - height), draw.randint(0, photograph.shape[1] - width)
    return Image.fromarray(photograph[top : top + height, left : left + width])
