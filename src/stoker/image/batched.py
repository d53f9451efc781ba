"""A batch of images, and what a pipeline shows of each: crops of many images in one native call.

`Geometry` is for a batch what `View` is for an image. Where both can be used, they give the same pixels, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker._native import decode_crops, jpeg_sizes, resample_crops
from stoker.image.decode import MAX_PIXELS

FLIPS_HORIZONTALLY, FLIPS_VERTICALLY = 1, 2


@dataclass
class Geometry:
    """Rectangle `boxes` of each image of a batch, resized to `size`, then flipped.

    Attributes:
        sizes: (height, width) of each image, int32 [n, 2].
        boxes: (top, left, height, width), int32 [n, 4].
        flips: bit 0 for left and right, bit 1 for top and bottom, uint8 [n].
        size: (height, width) of the result; None until an operation decides it.
        left_out: images that have to be made one by one, bool [n].
    """

    sizes: NDArray[np.int32]
    antialias: bool = True
    size: tuple[int, int] | None = None
    boxes: NDArray[np.int32] = field(init=False)
    flips: NDArray[np.uint8] = field(init=False)
    left_out: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.boxes = np.zeros((len(self.sizes), 4), np.int32)
        self.boxes[:, 2:] = self.sizes
        self.flips = np.zeros(len(self.sizes), np.uint8)
        self.left_out = np.zeros(len(self.sizes), np.bool_)


class EncodedBatch:
    """The bytes of image files in memory. `owner` is kept, so that they stay there.

    Args:
        addresses: uint64 [n].
        lengths: in bytes, int64 [n].
    """

    def __init__(self, addresses: NDArray[np.uint64], lengths: NDArray[np.int64], owner: Any = None) -> None:
        self.addresses, self.lengths, self._owner = addresses, lengths, owner

    def sizes(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(height, width) of each, and which have to be decoded one by one: no plain JPEGs, turned ones, too large ones."""
        found = jpeg_sizes(self.addresses, self.lengths)
        pixels = found[:, 0].astype(np.int64) * found[:, 1]
        other = (pixels == 0) | (found[:, 2] != 1) | (pixels > MAX_PIXELS)
        sizes = np.ascontiguousarray(found[:, :2])
        sizes[other] = 1
        return sizes, other

    def show(self, geometry: Geometry, target: NDArray[np.uint8], *, planar: bool) -> NDArray[np.bool_]:
        """Writes what `geometry` shows of each image to `target`, uint8 [n, 3, h, w] or [n, h, w, 3]; which could not be written."""
        assert geometry.size is not None
        status = decode_crops(
            self.addresses, self.lengths, geometry.boxes, geometry.flips, target.ctypes.data, target.strides[0],
            *geometry.size, geometry.antialias, planar,
        )  # fmt: skip
        failed: NDArray[np.bool_] = status != 0
        return failed


class PixelBatch:
    """Pixels in memory: uint8 [height, width, 3] of each image. `owner` is kept, so that they stay there."""

    def __init__(self, addresses: NDArray[np.uint64], sizes: NDArray[np.int32], owner: Any = None) -> None:
        self.addresses, self._sizes, self._owner = addresses, sizes, owner

    def sizes(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """As `EncodedBatch.sizes`: none has to be made by itself but one without pixels."""
        empty = (self._sizes == 0).any(axis=1)
        return np.where(empty[:, None], np.int32(1), self._sizes), empty

    def show(self, geometry: Geometry, target: NDArray[np.uint8], *, planar: bool) -> NDArray[np.bool_]:
        """As `EncodedBatch.show`."""
        assert geometry.size is not None
        chosen = np.flatnonzero(~geometry.left_out)
        if len(chosen) == len(self.addresses):
            self._show(slice(None), geometry, target, planar)
        else:
            for index in chosen.tolist():
                self._show(slice(index, index + 1), geometry, target[index : index + 1], planar)
        return np.zeros(len(self.addresses), np.bool_)

    def _show(self, part: slice, geometry: Geometry, target: NDArray[np.uint8], planar: bool) -> None:
        assert geometry.size is not None
        heights, widths = (np.ascontiguousarray(self._sizes[part, axis]) for axis in (0, 1))
        resample_crops(
            self.addresses[part], heights, widths, geometry.boxes[part], geometry.flips[part], target.ctypes.data,
            target.strides[0], *geometry.size, geometry.antialias, planar,
        )  # fmt: skip


ImageBatch = EncodedBatch | PixelBatch
