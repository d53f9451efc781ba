"""Operations on finished pixels, with or without random parameters: how they are told apart and run over a batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import TypeMismatchError
from stoker.order.keys import derive_array, uniforms


class PixelOp(Protocol):
    """An operation on a batch of images, each of which has parameters of its own, drawn under its key.

    A row's result depends on that row and its key alone, bit for bit: batches of any composition give the same. So an
    operation is made of elementwise arithmetic and of sums of integers; a sum of floats would depend on how it is split.
    Parameters are drawn on the CPU; the pixels stay on the device where they are.
    """

    def apply_keyed(self, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
        """Pixels [n, channels, height, width], uint8 or floats in [0, 1], under `keys` [n].

        A new tensor of the same dtype, or the given one, which is not changed.
        """


def is_pixel_op(op: Any) -> bool:
    """Whether `op` is one of Stoker's own operations on pixels: a `TensorOp` or a `PixelOp`."""
    is_own = type(op).__module__.startswith("stoker.image.")
    return is_own and (hasattr(op, "apply_tensor") or hasattr(op, "apply_keyed"))


def apply_pixels(op: Any, pixels: torch.Tensor, keys: NDArray[np.uint64]) -> torch.Tensor:
    """Runs an operation on pixels [n, channels, height, width] whose keys are `keys` [n]."""
    result: torch.Tensor = op.apply_keyed(pixels, keys) if hasattr(op, "apply_keyed") else op.apply_tensor(pixels)
    return result


def draws(keys: NDArray[np.uint64], number: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
    """Parameter `number` of each key: uniform in [low, high)."""
    return low + (high - low) * uniforms(derive_array(keys, number))


def per_row(values: NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    """Values [n, ...] as float32 [n, ..., 1, 1, 1], for pixels `like` [n, channels, height, width], on their device."""
    tensor = torch.from_numpy(np.asarray(values, np.float32)).to(like.device)
    return tensor.reshape(*tensor.shape, *[1] * (like.ndim - 1))


def rows_where(chosen: NDArray[np.bool_], like: torch.Tensor) -> torch.Tensor:
    """The numbers of the chosen rows, int64, on the device of `like`."""
    return torch.from_numpy(np.flatnonzero(chosen)).to(like.device)


def as_unit(pixels: torch.Tensor, name: str) -> torch.Tensor:
    """uint8 as float32 in [0, 1]; floats as float32.

    Raises:
        TypeMismatchError: the pixels are of another type.
    """
    if pixels.is_floating_point():
        return pixels.to(torch.float32)
    if pixels.dtype is not torch.uint8:
        raise TypeMismatchError(f"{name} takes uint8 or floating-point pixels; got {pixels.dtype}.")
    return pixels.to(torch.float32) / 255


def as_given(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Floats in [0, 1] in the dtype they came in; uint8 is rounded."""
    return (pixels * 255).round_().to(dtype) if dtype is torch.uint8 else pixels.to(dtype)


def three_channels(pixels: torch.Tensor, name: str) -> None:
    """Raises TypeMismatchError where pixels are no RGB images."""
    if pixels.shape[-3] != 3:
        raise TypeMismatchError(f"{name} takes images of 3 channels; got pixels of shape {tuple(pixels.shape)}.")
