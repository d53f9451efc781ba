"""Image operations, as declarations. Each says how a view changes; none touches pixels before it must.

Parameters are drawn from a `KeyedRandom` under the sample's key, so an operation gives the same result wherever it
runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from stoker._native import draw_resized_crops
from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.batched import FLIPS_HORIZONTALLY, FLIPS_VERTICALLY, Geometry
from stoker.image.decode import Box
from stoker.image.view import Showing
from stoker.order.keys import KeyedRandom, uniforms

_ATTEMPTS = 10

S = TypeVar("S", bound=Showing)


class ViewOp(Protocol):
    """An operation on views: geometry, fused into the decoding where it comes first. It looks at a view's size alone."""

    def apply(self, view: S, random: KeyedRandom) -> S: ...


class BatchOp(ViewOp, Protocol):
    """A ViewOp that can be applied to a batch at once, with the same result. `ends_geometry`: no crop or resize can follow it there."""

    ends_geometry: ClassVar[bool]

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """(height, width) that all results have, where this operation decides it; None where it leaves `size` as it is."""

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        """Changes what is shown of each image, as `apply` does with ``KeyedRandom(key)``."""


class TensorOp(Protocol):
    """An operation on finished pixels: [..., channels, height, width] in and out."""

    def apply_tensor(self, pixels: torch.Tensor) -> torch.Tensor: ...


class RandomResizedCrop:
    """A random rectangle of `scale` of the area and `ratio` of width to height, resized to `size`.

    Drawn as in torchvision: up to ten tries of a uniform area and a log-uniform ratio, else the largest centred crop of
    an allowed ratio (Szegedy et al., Going deeper with convolutions, 2014).
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = True,
    ) -> None:
        self.size = pair_of(size)
        self.scale = interval_of("scale", scale)
        self.ratio = interval_of("ratio", ratio)
        self.antialias = antialias

    def apply(self, view: S, random: KeyedRandom) -> S:
        return view.cropped(self.draw(*view.size, random)).resized(*self.size, antialias=self.antialias)

    ends_geometry: ClassVar[bool] = True

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return self.size

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        sizes = np.ascontiguousarray(geometry.boxes[:, 2:])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        drawn = draw_resized_crops(keys, sizes, *self.scale, low, high, *self.ratio)
        drawn[:, :2] += geometry.boxes[:, :2]
        geometry.boxes, geometry.size, geometry.antialias = drawn, self.size, self.antialias

    def draw(self, height: int, width: int, random: KeyedRandom) -> Box:
        """A rectangle for an image of that size."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_ATTEMPTS):
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(low, high))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                return Box(random.integers(0, height - h + 1), random.integers(0, width - w + 1), h, w)
        w, h = width, height
        if width / height < self.ratio[0]:
            h = round(w / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(h * self.ratio[1])
        return Box((height - h) // 2, (width - w) // 2, h, w)

    def __repr__(self) -> str:
        return f"RandomResizedCrop({_size_text(self.size)})"


class Resize:
    """Resizes to `size`: (height, width), or the length of the shorter side with the shape kept, the longer one at most `max_size`."""

    def __init__(self, size: int | Sequence[int], max_size: int | None = None, antialias: bool = True) -> None:
        self.size = size if isinstance(size, int) else pair_of(size)
        pair_of(size)
        if max_size is not None and (not isinstance(size, int) or max_size < size):
            raise ArgumentError(
                f"max_size goes with a size that is one number, and is at least that; got size={size}, max_size={max_size}."
            )
        self.max_size = max_size
        self.antialias = antialias

    def apply(self, view: S, random: KeyedRandom) -> S:
        return view.resized(*self._target(*view.size), antialias=self.antialias)

    ends_geometry: ClassVar[bool] = True

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None if isinstance(self.size, int) else self.size

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        if not isinstance(self.size, int):
            geometry.size, geometry.antialias = self.size, self.antialias

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        short, long = sorted((height, width))
        new_short, new_long = self.size, int(self.size * long / short)
        if self.max_size is not None and new_long > self.max_size:
            new_short, new_long = max(1, int(self.max_size * new_short / new_long)), self.max_size
        return (new_short, new_long) if height <= width else (new_long, new_short)

    def __repr__(self) -> str:
        return f"Resize({self.size if isinstance(self.size, int) else _size_text(self.size)})"


class CenterCrop:
    """The middle of the image, `size` large; where the image is smaller it is padded with black, as torchvision does."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair_of(size)

    def apply(self, view: S, random: KeyedRandom) -> S:
        (height, width), (target_height, target_width) = view.size, self.size
        if height < target_height or width < target_width:
            view = self._padded(view)
            height, width = view.size
        top, left = round((height - target_height) / 2.0), round((width - target_width) / 2.0)
        return view.cropped(Box(top, left, target_height, target_width))

    ends_geometry: ClassVar[bool] = False

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return self.size

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        boxes, size = geometry.boxes, np.array(self.size, np.int32)
        geometry.left_out |= (boxes[:, 2:] < size).any(axis=1)  # those are padded
        boxes[:, :2] += np.round((boxes[:, 2:] - size) / 2.0).astype(np.int32)
        boxes[:, 2:], geometry.size = size, self.size

    def _padded(self, view: S) -> S:
        (height, width), (target_height, target_width) = view.size, self.size
        missing_rows, missing_columns = max(0, target_height - height), max(0, target_width - width)
        top, left = missing_rows // 2, missing_columns // 2
        return view.padded(top, missing_rows - top, left, missing_columns - left)

    def __repr__(self) -> str:
        return f"CenterCrop({_size_text(self.size)})"


class RandomHorizontalFlip:
    """Mirrors left and right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability_of(p)

    def apply(self, view: S, random: KeyedRandom) -> S:
        return view.flipped(horizontally=random.uniform() < self.p)

    ends_geometry: ClassVar[bool] = True

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        geometry.flips ^= (uniforms(keys) < self.p).astype(np.uint8) * np.uint8(FLIPS_HORIZONTALLY)

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p:g})"


class RandomVerticalFlip:
    """Mirrors top and bottom with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability_of(p)

    def apply(self, view: S, random: KeyedRandom) -> S:
        return view.flipped(vertically=random.uniform() < self.p)

    ends_geometry: ClassVar[bool] = True

    def batch_size_after(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None

    def apply_batch(self, geometry: Geometry, keys: NDArray[np.uint64]) -> None:
        geometry.flips ^= (uniforms(keys) < self.p).astype(np.uint8) * np.uint8(FLIPS_VERTICALLY)

    def __repr__(self) -> str:
        return f"RandomVerticalFlip(p={self.p:g})"


class ToFloat:
    """uint8 in [0, 255] to `dtype` in [0, 1]."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        if not dtype.is_floating_point:
            raise ArgumentError(f"dtype must be a floating-point type; got {dtype}.")
        self.dtype = dtype

    def apply_tensor(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.is_floating_point():
            return pixels.to(self.dtype)
        if pixels.dtype is not torch.uint8:
            raise TypeMismatchError(f"ToFloat takes uint8 or floating-point pixels; got {pixels.dtype}.")
        return pixels.to(self.dtype).div_(255)

    def __repr__(self) -> str:
        return f"ToFloat({self.dtype})"


class Normalize:
    """(pixels - mean) / std for each channel, float32; `mean` and `std` are for pixels in [0, 1]. uint8 pixels are scaled first."""

    _scale: ClassVar[ToFloat] = ToFloat()

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or not len(mean):
            raise ArgumentError(f"mean and std must have one number for each channel; got {len(mean)} and {len(std)}.")
        if any(value <= 0 for value in std):
            raise ArgumentError(f"std must be positive; got {list(std)}.")
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self._mean = torch.tensor(self.mean).reshape(-1, 1, 1)
        self._std = torch.tensor(self.std).reshape(-1, 1, 1)

    def apply_tensor(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[-3] != len(self.mean):
            raise TypeMismatchError(
                f"Normalize has {len(self.mean)} channels; got pixels of shape {tuple(pixels.shape)}."
            )
        return (self._scale.apply_tensor(pixels) - self._mean.to(pixels.device)).div_(self._std.to(pixels.device))

    def __repr__(self) -> str:
        return "Normalize()"


def pair_of(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width), both `size` where it is one number. Raises ArgumentError."""
    pair: tuple[Any, ...] = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in pair):
        raise ArgumentError(f"size must be a number of pixels of at least 1, or (height, width); got {size!r}.")
    return pair


def interval_of(name: str, interval: tuple[float, float]) -> tuple[float, float]:
    """(low, high), both positive. Raises ArgumentError, which names it."""
    low, high = interval
    if not 0 < low <= high:
        raise ArgumentError(f"{name} must be (low, high) with 0 < low <= high; got {interval}.")
    return float(low), float(high)


def probability_of(p: Any) -> float:
    """A number in [0, 1]. Raises ArgumentError."""
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ArgumentError(f"p must be a probability between 0 and 1; got {p!r}.")
    return float(p)


def _size_text(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}×{size[1]}"
