"""Pipelines whose images can be made a batch at a time: geometry first, then Stoker's own operations on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.image.batched import Geometry, ImageBatch
from stoker.image.photometric import apply_pixels, is_pixel_op
from stoker.order.keys import derive_array


class Fused:
    """A pipeline as one native call for a batch, and operations on its pixels. Pure; thread-safe.

    Attributes:
        size: (height, width) of every result.
    """

    def __init__(
        self, geometry_ops: Sequence[Any], pixel_ops: Sequence[Any], size: tuple[int, int], layout: str
    ) -> None:
        self._geometry_ops, self._pixel_ops = geometry_ops, pixel_ops
        self.size, self.layout = size, layout

    def example(self) -> torch.Tensor:
        """A result, as far as shape and dtype go."""
        pixels = torch.zeros((1, 3, *self.size), dtype=torch.uint8)
        return self._finished(pixels, np.zeros(1, np.uint64))[0].contiguous()

    def run(self, images: ImageBatch, keys: NDArray[np.uint64], out: NDArray[Any]) -> NDArray[np.int64]:
        """Writes each image's result under its key to `out` [n, ...]; the positions of those that have to be made one by one."""
        sizes, other = images.sizes()
        geometry = Geometry(sizes)
        for number, op in enumerate(self._geometry_ops):
            op.apply_batch(geometry, derive_array(keys, number))
        geometry.left_out |= other
        geometry.boxes[geometry.left_out] = 0  # an empty rectangle: nothing is decoded
        planar = self.layout == "chw" or bool(self._pixel_ops)
        pixels = out if not self._pixel_ops else np.empty((len(keys), 3, *self.size), np.uint8)
        left_out = images.show(geometry, pixels, planar=planar) | geometry.left_out
        if self._pixel_ops:
            torch.from_numpy(out).copy_(self._finished(torch.from_numpy(pixels), keys))
        return np.flatnonzero(left_out)

    def _finished(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        """Operations on pixels [n, 3, height, width] under the images' keys, and the layout."""
        for number, op in enumerate(self._pixel_ops, len(self._geometry_ops)):
            pixels = apply_pixels(op, pixels, derive_array(keys, number))
        return pixels.movedim(-3, -1) if self.layout == "hwc" else pixels


def fuse(ops: Sequence[Any], layout: str) -> Fused | None:
    """The operations as a `Fused`; None where they cannot be: foreign code, results of varying size, a crop of what was resized."""
    count = next((number for number, op in enumerate(ops) if not hasattr(op, "apply_batch")), len(ops))
    geometry_ops, pixel_ops = ops[:count], ops[count:]
    if not all(is_pixel_op(op) for op in pixel_ops):
        return None
    size: tuple[int, int] | None = None
    pristine = True
    for op in geometry_ops:
        after = op.batch_size_after(size)
        if after is not None and not pristine:
            return None
        size = after or size
        pristine = pristine and not op.ends_geometry
    return None if size is None else Fused(geometry_ops, pixel_ops, size, layout)
