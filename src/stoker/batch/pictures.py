"""What people can look at in a batch: its images, and what they are labelled with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from stoker.errors import DataError

_CHANNELS = (1, 3, 4)
_SMALLEST = 4  # pixels: three numbers in a row are hardly an image


def pictures_of(batch: Any, classes: Sequence[str] = (), *, is_batched: bool = True) -> list[tuple[Any, str]]:
    """The images of a batch, a row each, and a caption for each: its class, its label, or its number.

    Images are the first array or tensor [rows, channels, h, w] or [rows, h, w, channels] with 1, 3 or 4 channels, uint8
    [rows, h, w], or a list of single ones; labels the first whole numbers or texts [rows]. Without `is_batched` the batch
    is one sample.

    Raises:
        DataError: there is no image; says what is there.
    """
    images = next((found for value in _values(batch) if (found := _images(value, is_batched)) is not None), None)
    if images is None:
        held = ", ".join(_kind(value) for value in _leaves(batch)) or "nothing"
        raise DataError(f"there is no image in the batch, of [rows, channels, height, width] or so; it holds {held}.")
    values = _values(batch)
    labels = next((found for value in values if (found := _labels(value, len(images), is_batched)) is not None), None)
    captions = [f"#{n}" for n in range(len(images))] if labels is None else [_named(label, classes) for label in labels]
    return list(zip(images, captions, strict=True))


def _values(batch: Any) -> Iterator[Any]:
    """The parts of a batch, outer ones first."""
    yield batch
    if isinstance(batch, dict | list | tuple):
        for part in batch.values() if isinstance(batch, dict) else batch:
            yield from _values(part)


def _leaves(batch: Any) -> Iterator[Any]:
    return (value for value in _values(batch) if not isinstance(value, dict | list | tuple))


def _kind(value: Any) -> str:
    if not isinstance(value, np.ndarray | torch.Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _images(value: Any, is_batched: bool) -> list[Any] | None:
    if not is_batched:
        return [value] if _is_image(value) else None
    if isinstance(value, list | tuple):
        return list(value) if len(value) and all(map(_is_image, value)) else None
    is_rows = isinstance(value, np.ndarray | torch.Tensor) and value.ndim in (3, 4) and len(value) > 0
    return list(value) if is_rows and _is_image(value[0]) else None


def _is_image(value: Any) -> bool:
    if type(value).__module__.startswith("PIL."):
        return True
    if not isinstance(value, np.ndarray | torch.Tensor) or value.ndim not in (2, 3):
        return False
    shape = tuple(value.shape)
    if value.ndim == 2:
        return "uint8" in str(value.dtype) and min(shape) >= _SMALLEST
    sides = shape[1:] if shape[0] in _CHANNELS else shape[:2]
    return (shape[0] in _CHANNELS or shape[-1] in _CHANNELS) and min(sides) >= _SMALLEST


def _labels(value: Any, num_rows: int, is_batched: bool) -> list[int | str] | None:
    if isinstance(value, np.ndarray | torch.Tensor):
        whole = not (value.is_floating_point() if isinstance(value, torch.Tensor) else value.dtype.kind not in "iub")
        found = value.reshape(-1).tolist() if whole and value.ndim <= is_batched else []
    elif is_batched:
        found = list(value) if isinstance(value, list | tuple) else []
    else:
        found = [value.item() if isinstance(value, np.generic) else value]
    return found if len(found) == num_rows and all(isinstance(label, int | str) for label in found) else None


def _named(label: int | str, classes: Sequence[str]) -> str:
    is_known = isinstance(label, int) and 0 <= label < len(classes)
    return str(classes[int(label)] if is_known else label)
