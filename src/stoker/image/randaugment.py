"""RandAugment: a few of fourteen operations on each image, all at one magnitude (Cubuk et al., RandAugment, 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.color import adjust_brightness, adjust_contrast, adjust_saturation, blend
from stoker.image.photometric import as_given, as_unit, draws, per_row, rows_where, three_channels

Magnitudes = NDArray[np.float64]
_Operation = Callable[[torch.Tensor, Magnitudes, torch.Tensor], torch.Tensor]
"""(uint8 [m, 3, h, w], signed magnitude of each in [-1, 1], fill [3, 1, 1]) -> uint8 [m, 3, h, w]"""


class RandAugment:
    """Applies `num_ops` operations to each image, drawn with replacement, at `magnitude` of `num_bins - 1`.

    The operations and their ranges are torchvision's: identity, shear and translation along both axes, rotation,
    brightness, colour, contrast, sharpness, posterize, solarize, autocontrast, equalize; geometry takes nearest pixels and
    fills with `fill`. Half of all magnitudes are negative, where that has a meaning. uint8 images of 3 channels: it goes
    before ToFloat and Normalize.
    """

    def __init__(
        self, num_ops: int = 2, magnitude: int = 9, num_bins: int = 31, fill: float | Sequence[float] = 0
    ) -> None:
        if num_ops < 0 or num_bins < 2 or not 0 <= magnitude < num_bins:
            raise ArgumentError(
                "num_ops must be at least 0, num_bins at least 2, and magnitude in [0, num_bins); "
                f"got num_ops={num_ops}, num_bins={num_bins}, magnitude={magnitude}."
            )
        self.num_ops, self.magnitude, self.num_bins = num_ops, magnitude, num_bins
        self.fill = (fill,) * 3 if isinstance(fill, int | float) else tuple(fill)

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        three_channels(pixels, "RandAugment")
        if pixels.dtype is not torch.uint8:
            raise TypeMismatchError(f"RandAugment takes uint8 pixels; got {pixels.dtype}. Put it before ToFloat.")
        fill = torch.tensor(self.fill, dtype=torch.uint8, device=pixels.device).reshape(3, 1, 1)
        result = pixels.clone()
        for turn in range(self.num_ops):
            kinds = (draws(keys, 2 * turn) * len(OPERATIONS)).astype(np.int64)
            signs = np.where(draws(keys, 2 * turn + 1) < 0.5, -1.0, 1.0)
            magnitudes = signs * (self.magnitude / (self.num_bins - 1))
            for kind in np.unique(kinds).tolist():
                rows = rows_where(kinds == kind, result)
                changed = OPERATIONS[kind](result[rows], magnitudes[kinds == kind], fill)
                result.index_copy_(0, rows, changed)
        return result

    def __repr__(self) -> str:
        return f"RandAugment(num_ops={self.num_ops}, magnitude={self.magnitude})"


def affine(pixels: torch.Tensor, coefficients: NDArray[np.float64], fill: torch.Tensor) -> torch.Tensor:
    """Takes each pixel from where `coefficients` [m, 6] send its middle (x, y): (a x + b y + c, d x + e y + f). Nearest, as Pillow's."""
    height, width = pixels.shape[-2:]
    a, b, c, d, e, f = per_row(coefficients.T, pixels[:, 0]).unbind(0)
    x = torch.arange(width, device=pixels.device) + 0.5
    y = (torch.arange(height, device=pixels.device) + 0.5)[:, None]
    columns, rows = (a * x + b * y + c).floor(), (d * x + e * y + f).floor()
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).to(torch.int64)
    taken = pixels.flatten(2).gather(2, places.flatten(1)[:, None].expand(-1, pixels.shape[1], -1))
    return torch.where(inside[:, None], taken.view_as(pixels), fill)


def _rows(count: int, *columns: float | Magnitudes) -> NDArray[np.float64]:
    return np.stack([np.broadcast_to(column, (count,)) for column in columns], axis=1).astype(np.float64)


def _shear_x(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    return affine(pixels, _rows(len(magnitudes), 1, 0.3 * magnitudes, 0, 0, 1, 0), fill)


def _shear_y(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    return affine(pixels, _rows(len(magnitudes), 1, 0, 0, 0.3 * magnitudes, 1, 0), fill)


def _translate_x(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    shift = np.trunc(magnitudes * (150 / 331) * pixels.shape[-1])
    return affine(pixels, _rows(len(magnitudes), 1, 0, -shift, 0, 1, 0), fill)


def _translate_y(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    shift = np.trunc(magnitudes * (150 / 331) * pixels.shape[-2])
    return affine(pixels, _rows(len(magnitudes), 1, 0, 0, 0, 1, -shift), fill)


def _rotate(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    """Anticlockwise about the middle, by at most 30°."""
    height, width = pixels.shape[-2:]
    cos, sin = np.cos(np.deg2rad(30 * magnitudes)), np.sin(np.deg2rad(30 * magnitudes))
    x, y = width / 2, height / 2
    across, down = x - cos * x + sin * y, y - sin * x - cos * y
    return affine(pixels, _rows(len(magnitudes), cos, -sin, across, sin, cos, down), fill)


def _in_unit(adjust: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> _Operation:
    """An adjustment of floats by a factor of 1 ± 0.9, on uint8."""

    def run(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
        values = as_unit(pixels, "RandAugment")
        return as_given(adjust(values, per_row(1 + 0.9 * magnitudes, values)), pixels.dtype)

    return run


def adjust_sharpness(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with the image smoothed by [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; its outermost pixels stay."""
    if min(pixels.shape[-2:]) < 3:
        return pixels
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    smooth = pixels.clone()
    inner = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * pixels[..., 1:-1, 1:-1]
    smooth[..., 1:-1, 1:-1] = inner / 13
    return blend(pixels, smooth, factor)


def _posterize(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    """Keeps the upper 8 to 4 bits."""
    dropped = np.round(4 * np.abs(magnitudes)).astype(np.uint8)
    masks = torch.from_numpy(((0xFF << dropped.astype(np.int64)) & 0xFF).astype(np.uint8)).to(pixels.device)
    return pixels & masks.reshape(-1, 1, 1, 1)


def _solarize(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    """Inverts what is at least as bright as a threshold: 255 at magnitude 0, 0 at the greatest."""
    threshold = per_row(255 * (1 - np.abs(magnitudes)), pixels)
    return torch.where(pixels >= threshold, 255 - pixels, pixels)


def _autocontrast(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    """Stretches each channel to [0, 255]; one of a single value stays."""
    low = pixels.amin(dim=(-2, -1), keepdim=True).to(torch.float32)
    high = pixels.amax(dim=(-2, -1), keepdim=True).to(torch.float32)
    flat = low == high
    scale = 255 / torch.where(flat, torch.ones_like(low), high - low)
    stretched = ((pixels - low) * scale).clamp_(0, 255).to(torch.uint8)
    return torch.where(flat, pixels, stretched)


def _equalize(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    """Each channel's histogram made even, by Pillow's integer arithmetic."""
    values = pixels.flatten(2).flatten(0, 1).to(torch.int64)
    histogram = torch.zeros((len(values), 256), dtype=torch.int64, device=pixels.device)
    histogram.scatter_add_(1, values, torch.ones_like(values))
    brightest = values.amax(dim=1, keepdim=True)
    step = (values.shape[1] - histogram.gather(1, brightest)).div(255, rounding_mode="floor")
    below = histogram.cumsum(1) - histogram
    table = (below + step.div(2, rounding_mode="floor")).div(step.clamp(min=1), rounding_mode="floor").clamp(0, 255)
    table = torch.where(step == 0, torch.arange(256, device=pixels.device), table)
    return table.gather(1, values).to(torch.uint8).view_as(pixels)


def _identity(pixels: torch.Tensor, magnitudes: Magnitudes, fill: torch.Tensor) -> torch.Tensor:
    return pixels


OPERATIONS: tuple[_Operation, ...] = (
    _identity, _shear_x, _shear_y, _translate_x, _translate_y, _rotate, _in_unit(adjust_brightness),
    _in_unit(adjust_saturation), _in_unit(adjust_contrast), _in_unit(adjust_sharpness), _posterize, _solarize,
    _autocontrast, _equalize,
)  # fmt: skip
"""In torchvision's order, which decides what a draw means."""
