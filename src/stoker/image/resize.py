"""Resizing and flipping of pixels held as uint8 [3, height, width] tensors, in any memory format."""

from __future__ import annotations

import torch
from torch.nn import functional


def resize(pixels: torch.Tensor, height: int, width: int, *, antialias: bool) -> torch.Tensor:
    """Bilinear resize; with `antialias` each output pixel averages all that it covers, as Pillow does it. uint8 in and out."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    resized = functional.interpolate(pixels[None], (height, width), mode="bilinear", antialias=antialias, align_corners=False)
    return resized[0]


def flip(pixels: torch.Tensor, *, horizontally: bool, vertically: bool) -> torch.Tensor:
    """The mirrored pixels."""
    dims = [dim for dim, wanted in ((-2, vertically), (-1, horizontally)) if wanted]
    return pixels.flip(dims) if dims else pixels
