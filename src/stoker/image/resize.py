"""Resizing and flipping of pixels held as [channels, height, width] tensors, in any memory format."""

from __future__ import annotations

import torch
from torch.nn import functional

from stoker._native import resample_rgb


def resize_and_flip(
    pixels: torch.Tensor, size: tuple[int, int], *, antialias: bool, horizontally: bool, vertically: bool
) -> torch.Tensor:
    """Bilinear resize to `size` (height, width), then mirrored; the given tensor itself where nothing is to be done.

    With `antialias` each output pixel averages all that it covers, as Pillow does it. 8-bit RGB goes through the native
    core, in one pass from the decoder's memory to [3, height, width], within one level of Pillow and torch; anything
    else goes through torch.
    """
    if pixels.shape[-2:] == size and not (horizontally or vertically):
        return pixels
    if pixels.dtype is torch.uint8 and pixels.shape[0] == 3 and pixels.numel():
        return _resample_rgb(pixels, size, antialias, horizontally, vertically)
    if pixels.shape[-2:] != size:
        pixels = functional.interpolate(pixels[None], size, mode="bilinear", antialias=antialias, align_corners=False)[
            0
        ]
    dims = [dim for dim, wanted in ((-2, vertically), (-1, horizontally)) if wanted]
    return pixels.flip(dims) if dims else pixels


def _resample_rgb(
    pixels: torch.Tensor, size: tuple[int, int], antialias: bool, horizontally: bool, vertically: bool
) -> torch.Tensor:
    if pixels.stride(0) != 1 or pixels.stride(2) != 3:
        pixels = pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # the channels of a pixel side by side
    target = torch.empty((3, *size), dtype=torch.uint8)
    _, height, width = pixels.shape
    resample_rgb(
        pixels.data_ptr(),
        pixels.stride(1),
        height,
        width,
        target.data_ptr(),
        *size,
        antialias,
        horizontally,
        vertically,
        True,
    )
    return target
