"""Pictures made for tests, and references to compare with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image


def smooth(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with gradients and some noise, uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / 17 + seed) * 60 + 120, np.cos(y / 11) * 60 + 120, (x + y) % 256]
    noise = generator.normal(0, 12, (height, width, 3))
    return np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8], subsampling: str = "420", **options: Any) -> bytes:
    """A JPEG of the picture; `options` are Pillow's."""
    stream = io.BytesIO()
    kinds = {"444": 0, "422": 1, "420": 2}
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=kinds[subsampling], **options)
    return stream.getvalue()


def encoded(pixels: Any, format: str, **options: Any) -> bytes:
    """The bytes of a file of the picture (an array or a PIL image)."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def full_decode(data: bytes) -> NDArray[np.uint8]:
    """All pixels of a JPEG, by the library that the code under test uses on parts of it."""
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    return pixels
