"""Calls of the native functions that take batches, and what a View gives for the same: their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker._native import decode_crops, jpeg_sizes
from stoker.image.decode import Box, EncodedImage
from stoker.image.view import View


@dataclass(frozen=True)
class Crop:
    """Rectangle `box` of `data`, resized to `size`, then flipped (1: horizontally, 2: vertically, 3: both)."""

    data: bytes
    box: Box
    size: tuple[int, int]
    flips: int = 0
    antialias: bool = True
    planar: bool = True

    def reference(self) -> NDArray[np.uint8]:
        """Its pixels by way of a View: [3, height, width]."""
        view = View.of(EncodedImage(self.data)).cropped(self.box).resized(*self.size, antialias=self.antialias)
        return view.flipped(horizontally=bool(self.flips & 1), vertically=bool(self.flips & 2)).pixels().numpy()

    def decoded(self) -> NDArray[np.uint8] | None:
        """Its pixels by the native crop decoder, [3, height, width]; None where they are left to the caller."""
        status, pixels = decode_batch([self], self.size, antialias=self.antialias, planar=self.planar)
        if status[0]:
            return None
        return pixels[0] if self.planar else pixels[0].transpose(2, 0, 1)


def pointers(files: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64], list[Any]]:
    """Addresses and sizes of files, and what must be kept alive: copies at the very end of their memory, so that tools see overreads."""
    copies = [np.frombuffer(file, np.uint8).copy() for file in files]
    addresses = np.array([copy.ctypes.data for copy in copies], np.uint64)
    return addresses, np.array([len(file) for file in files], np.int64), copies


def decode_batch(
    crops: Sequence[Crop], size: tuple[int, int], *, antialias: bool = True, planar: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(status, pixels) of a batch; between images there are some bytes that must stay as they are."""
    addresses, sizes, _kept = pointers([crop.data for crop in crops])
    boxes = np.array([(c.box.top, c.box.left, c.box.height, c.box.width) for c in crops], np.int64)
    flips = np.array([crop.flips for crop in crops], np.uint8)
    image_bytes, gap = 3 * size[0] * size[1], 5
    memory = np.full((len(crops), image_bytes + gap), 201, np.uint8)
    status = decode_crops(
        addresses,
        sizes,
        boxes.astype(np.int32).reshape(-1, 4),
        flips,
        memory.ctypes.data,
        memory.strides[0],
        *size,
        antialias,
        planar,
    )
    assert (memory[:, image_bytes:] == 201).all()
    shape = (len(crops), 3, *size) if planar else (len(crops), *size, 3)
    return status, memory[:, :image_bytes].reshape(shape)


def size_of(data: bytes) -> tuple[int, int, int]:
    """(height, width, orientation) by the native core."""
    addresses, sizes, _kept = pointers([data])
    height, width, orientation = jpeg_sizes(addresses, sizes)[0].tolist()
    return height, width, orientation


def random_box(generator: np.random.Generator, height: int, width: int, least: int = 1) -> Box:
    """A rectangle within an image, at least `least` pixels wide and high."""
    top, left = (int(generator.integers(0, side - least + 1)) for side in (height, width))
    return Box(
        top, left, int(generator.integers(least, height - top + 1)), int(generator.integers(least, width - left + 1))
    )
