"""Colour: jitter and grey, over a batch of images each with parameters of its own.

The arithmetic is torchvision's for floats in [0, 1]. uint8 is rounded once, at the end of an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.image.ops import probability_of
from stoker.image.photometric import as_given, as_unit, draws, per_row, rows_where, three_channels

_LUMA = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue
_FIXED = 1 << 22  # a mean is a sum of integers, which comes out the same in whatever order it is added up

Adjustment = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class ColorJitter:
    """Changes brightness, contrast, saturation and hue by factors of each image's own, in an order of each image's own.

    Each of the first three is a number x, for a factor in [max(0, 1 - x), 1 + x], or an interval (low, high); `hue` is a
    number in [0, 0.5], for a shift in [-x, x] of the circle, or an interval within [-0.5, 0.5]. As torchvision's.
    Images of 3 channels.
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.hue = _shifts(hue)
        kinds = ((adjust_brightness, self.brightness, 1.0), (adjust_contrast, self.contrast, 1.0),
                 (adjust_saturation, self.saturation, 1.0), (adjust_hue, self.hue, 0.0))  # fmt: skip
        self._kinds = [(adjust, interval) for adjust, interval, neutral in kinds if interval != (neutral, neutral)]

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        three_channels(pixels, "ColorJitter")
        if not self._kinds:
            return pixels
        values = as_unit(pixels, "ColorJitter")
        values = values.clone() if values is pixels else values
        factors = [draws(keys, number, *interval) for number, (_, interval) in enumerate(self._kinds)]
        order = np.argsort([draws(keys, 8 + number) for number in range(len(self._kinds))], axis=0)
        for turn in order:  # which operation is each image's first, second …
            for number, (adjust, _) in enumerate(self._kinds):
                chosen = turn == number
                apply_where(values, chosen, adjust, factors[number])
        return as_given(values, pixels.dtype)

    def __repr__(self) -> str:
        intervals = (self.brightness, self.contrast, self.saturation, self.hue)
        return f"ColorJitter({', '.join(f'{low:g}…{high:g}' for low, high in intervals)})"


class RandomGrayscale:
    """Grey, as three equal channels, with probability `p`."""

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability_of(p)

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        three_channels(pixels, "RandomGrayscale")
        chosen = draws(keys, 0) < self.p
        if not chosen.any():
            return pixels
        rows = rows_where(chosen, pixels)
        gray = grayscale(as_unit(pixels[rows], "RandomGrayscale")).expand(-1, 3, -1, -1)
        return pixels.index_copy(0, rows, as_given(gray.contiguous(), pixels.dtype))

    def __repr__(self) -> str:
        return f"RandomGrayscale(p={self.p:g})"


def apply_where(values: torch.Tensor, chosen: NDArray[np.bool_], adjust: Adjustment, factors: NDArray[Any]) -> None:
    """Changes the chosen rows of `values` in place, each with its own factor."""
    if chosen.all():
        values.copy_(adjust(values, per_row(factors, values)))
    elif chosen.any():
        rows = rows_where(chosen, values)
        values.index_copy_(0, rows, adjust(values[rows], per_row(factors[chosen], values)))


def grayscale(pixels: torch.Tensor) -> torch.Tensor:
    """[n, 3, h, w] to [n, 1, h, w]."""
    red, green, blue = pixels.split(1, dim=1)
    gray: torch.Tensor = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return gray


def mean_gray(pixels: torch.Tensor) -> torch.Tensor:
    """The mean of each image's grey values, [n, 1, 1, 1]."""
    fixed = (grayscale(pixels) * _FIXED).to(torch.int32)
    total = fixed.sum(dim=(1, 2, 3), dtype=torch.int64, keepdim=True)
    return (total.to(torch.float64) / (_FIXED * pixels.shape[-1] * pixels.shape[-2])).to(torch.float32)


def blend(pixels: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """`other` at factor 0, `pixels` at 1, beyond it where it is more; within [0, 1]."""
    blended: torch.Tensor = pixels * factor + other * (1 - factor)
    return blended.clamp_(0, 1)


def adjust_brightness(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with black; `factor` [n, 1, 1, 1], as below."""
    return (pixels * factor).clamp_(0, 1)


def adjust_contrast(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with the image's mean grey."""
    return blend(pixels, mean_gray(pixels), factor)


def adjust_saturation(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with the grey image."""
    return blend(pixels, grayscale(pixels), factor)


def adjust_hue(pixels: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Turns the hue by `shift` of the circle: RGB → HSV → RGB (Smith, Color gamut transform pairs, 1978)."""
    red, green, blue = pixels.split(1, dim=1)
    value, low = pixels.amax(dim=1, keepdim=True), pixels.amin(dim=1, keepdim=True)
    chroma = value - low
    span = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    sixth = torch.where(
        value == red,
        (green - blue) / span,
        torch.where(value == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    sixth = sixth + shift * 6
    channels = []
    for start in (5.0, 3.0, 1.0):
        place = (sixth + start).remainder(6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.cat(channels, dim=1)


def _factors(name: str, given: Any) -> tuple[float, float]:
    low, high = (max(0.0, 1.0 - given), 1.0 + given) if isinstance(given, int | float) else given
    if (isinstance(given, int | float) and given < 0) or not 0 <= low <= high < math.inf:
        raise ArgumentError(
            f"{name} must be a number of at least 0, or (low, high) with 0 <= low <= high; got {given!r}."
        )
    return float(low), float(high)


def _shifts(given: Any) -> tuple[float, float]:
    low, high = (-given, given) if isinstance(given, int | float) else given
    if not -0.5 <= low <= high <= 0.5:
        raise ArgumentError(f"hue must be a number in [0, 0.5], or (low, high) within [-0.5, 0.5]; got {given!r}.")
    return float(low), float(high)
