"""Where the pixels of an image go: what masks, boxes and keypoints need to follow geometry that was drawn for the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.image.decode import Box

_OUTSIDE = -1


@dataclass(frozen=True)
class Axis:
    """One axis of a frame.

    Attributes:
        source: for each pixel of the result the pixel of the image it is taken from, or -1 where it is padding; int64.
        scale, offset: a coordinate x of the image is at ``scale * x + offset`` in the result.
    """

    source: NDArray[np.int64]
    scale: float = 1.0
    offset: float = 0.0

    @staticmethod
    def of(length: int) -> Axis:
        return Axis(np.arange(length, dtype=np.int64))

    def cropped(self, start: int, length: int) -> Axis:
        return replace(self, source=self.source[start : start + length], offset=self.offset - start)

    def padded(self, before: int, after: int) -> Axis:
        source = np.pad(self.source, (before, after), constant_values=_OUTSIDE)
        return replace(self, source=source, offset=self.offset + before)

    def resized(self, length: int) -> Axis:
        """The nearest pixel: the one that the middle of a new pixel falls into, as Pillow has it, in exact integers."""
        old = len(self.source)
        nearest = (2 * np.arange(length, dtype=np.int64) + 1) * old // (2 * length)
        return Axis(self.source[nearest], self.scale * length / old, self.offset * length / old)

    def flipped(self) -> Axis:
        return Axis(self.source[::-1], -self.scale, len(self.source) - self.offset)

    def moved(self, coordinates: torch.Tensor) -> torch.Tensor:
        return coordinates * self.scale + self.offset


@dataclass(frozen=True)
class Frame:
    """Geometry that was applied to an image, as a map of its pixels and coordinates. Immutable; exact, whatever the order of operations.

    Coordinates are continuous: pixel (row, column) covers ``[column, column + 1)`` of x, so an image is `width` wide, and
    the middle of its first pixel is at 0.5.
    """

    rows: Axis
    columns: Axis

    @staticmethod
    def of(size: tuple[int, int]) -> Frame:
        """All of an image of that (height, width)."""
        return Frame(Axis.of(size[0]), Axis.of(size[1]))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return len(self.rows.source), len(self.columns.source)

    @property
    def mirrors(self) -> bool:
        """Whether left and right are as in a mirror: flipped along one of the axes, not along both."""
        return (self.rows.scale < 0) != (self.columns.scale < 0)

    def cropped(self, box: Box) -> Frame:
        return Frame(self.rows.cropped(box.top, box.height), self.columns.cropped(box.left, box.width))

    def padded(self, top: int, bottom: int, left: int, right: int) -> Frame:
        return Frame(self.rows.padded(top, bottom), self.columns.padded(left, right))

    def resized(self, height: int, width: int, *, antialias: bool) -> Frame:
        return Frame(self.rows.resized(height), self.columns.resized(width))

    def flipped(self, *, horizontally: bool = False, vertically: bool = False) -> Frame:
        return Frame(
            self.rows.flipped() if vertically else self.rows, self.columns.flipped() if horizontally else self.columns
        )

    def mask(self, mask: torch.Tensor, fill: Any = 0) -> torch.Tensor:
        """A mask [..., height, width] of the image as a mask of the result: nearest pixels, `fill` where it is padding. A copy."""
        rows, columns = torch.from_numpy(self.rows.source.copy()), torch.from_numpy(self.columns.source.copy())
        taken = mask.index_select(-2, rows.clamp(min=0)).index_select(-1, columns.clamp(min=0))
        outside = (rows < 0)[:, None] | (columns < 0)
        return taken.masked_fill_(outside, fill) if bool(outside.any()) else taken

    def boxes(self, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes [..., 4] as (x0, y0, x1, y1), in the result, clipped to it; those beside it have no width or no height."""
        height, width = self.size
        x, y = self.columns.moved(boxes[..., 0::2]), self.rows.moved(boxes[..., 1::2])
        x, y = x.sort(dim=-1).values.clamp(0, width), y.sort(dim=-1).values.clamp(0, height)
        return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)

    def points(self, points: torch.Tensor) -> torch.Tensor:
        """Points [..., 2] as (x, y), or [..., 3] with visibility, in the result.

        Where there is a visibility, a point beside the result, or one with visibility 0, becomes (0, 0, 0), as COCO
        writes one that is not there.
        """
        height, width = self.size
        x, y = self.columns.moved(points[..., 0]), self.rows.moved(points[..., 1])
        moved = torch.stack((x, y, *points[..., 2:].unbind(-1)), dim=-1)
        if points.shape[-1] == 2:
            return moved
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (points[..., 2] > 0)
        return torch.where(inside[..., None], moved, torch.zeros_like(moved))
