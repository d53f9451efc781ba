"""Blur and erasing, over a batch of images each with parameters of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from stoker.errors import ArgumentError
from stoker.image.ops import interval_of, pair_of, probability_of
from stoker.image.photometric import as_given, as_unit, draws, per_row, rows_where

_ATTEMPTS = 10


class GaussianBlur:
    """Blurs with a Gaussian whose sigma, in pixels, is uniform in `sigma`, cut off at `kernel_size`, with probability `p`.

    As torchvision's: the edge is mirrored. `kernel_size` is odd, or (height, width). It costs as many passes over the
    pixels as the kernel has rows and columns.
    """

    def __init__(
        self, kernel_size: int | Sequence[int], sigma: float | tuple[float, float] = (0.1, 2.0), p: float = 1.0
    ) -> None:
        self.kernel_size = pair_of(kernel_size)
        if any(side % 2 == 0 for side in self.kernel_size):
            raise ArgumentError(f"kernel_size must be odd; got {kernel_size!r}.")
        self.sigma = interval_of("sigma", (sigma, sigma) if isinstance(sigma, int | float) else sigma)
        self.p = probability_of(p)

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        chosen = draws(keys, 0) < self.p
        if not chosen.any():
            return pixels
        sigma = draws(keys, 1, *self.sigma)[chosen]
        rows = rows_where(chosen, pixels)
        values = as_unit(pixels[rows], "GaussianBlur")
        for dim, size in ((-2, self.kernel_size[0]), (-1, self.kernel_size[1])):
            values = _blurred(values, gaussian(sigma, size), dim)
        return pixels.index_copy(
            0, rows, as_given(values.clamp_(0, 1) if pixels.dtype is torch.uint8 else values, pixels.dtype)
        )

    def __repr__(self) -> str:
        return f"GaussianBlur({self.kernel_size[0]}×{self.kernel_size[1]}, sigma={self.sigma[0]:g}…{self.sigma[1]:g}, p={self.p:g})"


def gaussian(sigma: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Weights [n, size] that add up to 1."""
    distance = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _blurred(values: torch.Tensor, weights: NDArray[np.float64], dim: int) -> torch.Tensor:
    """Every image with weights of its own, along one dimension. Sums in one order: a convolution's would depend on the batch."""
    size = weights.shape[1]
    length, half = values.shape[dim], size // 2
    padding = (half, half, 0, 0) if dim == -1 else (0, 0, half, half)
    padded = functional.pad(values, padding, mode="reflect")
    result = torch.zeros_like(values)
    for number in range(size):
        result += padded.narrow(dim, number, length) * per_row(weights[:, number], values)
    return result


class RandomErasing:
    """Fills a rectangle of `scale` of the area and `ratio` of height to width with `value`, with probability `p`.

    Drawn as in torchvision (Zhong et al., Random erasing data augmentation, 2017): up to ten tries of a uniform area and
    a log-uniform ratio, else nothing is erased. `value` is one number or one for each channel, in the pixels' own units.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | Sequence[float] = 0,
    ) -> None:
        self.p = probability_of(p)
        self.scale, self.ratio = interval_of("scale", scale), interval_of("ratio", ratio)
        self.value = (float(value),) if isinstance(value, int | float) else tuple(float(each) for each in value)

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        if len(self.value) not in (1, pixels.shape[1]):
            raise ArgumentError(
                f"value must be one number, or one for each of {pixels.shape[1]} channels; got {len(self.value)}."
            )
        top, left, height, width = self.draw_boxes(pixels.shape[-2], pixels.shape[-1], keys)
        inside = _span(top, height, pixels, -2) & _span(left, width, pixels, -1)
        fill = torch.tensor(self.value, device=pixels.device).to(pixels.dtype).reshape(-1, 1, 1)
        return torch.where(inside, fill, pixels)

    def draw_boxes(self, height: int, width: int, keys: NDArray[np.uint64]) -> tuple[NDArray[Any], ...]:
        """Top, left, height and width of each image's rectangle, int64 [n]; without height where nothing is erased."""
        shape = (len(keys),)
        found, h, w = np.zeros(shape, bool), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for attempt in range(_ATTEMPTS):
            area = height * width * draws(keys, 8 + 2 * attempt, *self.scale)
            aspect = np.exp(draws(keys, 9 + 2 * attempt, math.log(self.ratio[0]), math.log(self.ratio[1])))
            tall, wide = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
            fits = ~found & (tall < height) & (wide < width)
            h[fits], w[fits] = tall[fits].astype(np.int64), wide[fits].astype(np.int64)
            found |= fits
        erased = found & (draws(keys, 0) < self.p)
        h[~erased] = 0
        top = np.floor(draws(keys, 1) * (height - h + 1)).astype(np.int64)
        left = np.floor(draws(keys, 2) * (width - w + 1)).astype(np.int64)
        return top, left, h, w

    def __repr__(self) -> str:
        return f"RandomErasing(p={self.p:g})"


def _span(start: NDArray[np.int64], length: NDArray[np.int64], pixels: torch.Tensor, dim: int) -> torch.Tensor:
    """Which places along `dim` lie in ``[start, start + length)`` of each image; broadcasts against `pixels`."""
    places = torch.arange(pixels.shape[dim], device=pixels.device).reshape(-1, *[1] * (-1 - dim))
    first, last = (torch.from_numpy(edge).to(pixels.device).reshape(-1, 1, 1, 1) for edge in (start, start + length))
    return (places >= first) & (places < last)
