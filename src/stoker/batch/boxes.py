"""Batches for detection: images of one tensor, and a dict of boxes, labels and masks for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from stoker.batch.fields import Column
from stoker.errors import ArgumentError, TypeMismatchError


@dataclass(frozen=True, kw_only=True)
class detection:  # noqa: N801 - called like a function, as functools.partial is
    """A ``collate_fn`` for detection and segmentation of instances: ``(images, targets)``, or ``(images, targets, masks)``.

    Samples are pairs (image, target), an image [channels, height, width] and a dict; or dicts with the image under a key
    of their own, whose other entries are the target. Images of one size are stacked; others get rows and columns of
    `fill` at the bottom and the right, up to the largest height and width, so that boxes and masks stay where they are.
    Targets stay a list of dicts, as torchvision's models take them; their arrays become tensors. All memory is private.
    Deterministic, thread-safe, pickles.

    Attributes:
        image: the key of the image, where samples are dicts.
        fill: what padding holds.
        multiple: height and width of the batch are multiples of this (a network's stride).
        masks: adds bool [images, height, width], True where there is image.

    Raises:
        ArgumentError: multiple is less than 1; images differ in their channels, or a dtype cannot hold `fill`.
        TypeMismatchError: a sample is no such pair or dict, or its image is no array of three dimensions.
    """

    image: str = "image"
    fill: float = 0
    multiple: int = 1
    masks: bool = False

    draws_randomness: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise ArgumentError(f"multiple must be at least 1; got {self.multiple}.")

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch."""
        pairs = [self._pair(number, sample) for number, sample in enumerate(samples)]
        if not pairs:
            raise ArgumentError("a batch needs at least one sample; got none.")
        column = Column.of("image", [image for image, _ in pairs], ragged_dims=(1, 2))
        sizes = np.array([image.shape[1:] for image in column.arrays], np.int64)
        height, width = (-(-sizes.max(0) // self.multiple) * self.multiple).tolist()
        images, rows = column.full(len(pairs), len(column.arrays[0]), height, width, fill=self.fill)
        for row, array, (own_height, own_width) in zip(rows, column.arrays, sizes.tolist(), strict=True):
            row[:, :own_height, :own_width] = array
        targets = [_private(target) for _, target in pairs]
        if not self.masks:
            return images, targets
        down, right = np.arange(height) < sizes[:, :1], np.arange(width) < sizes[:, 1:]
        return images, targets, torch.from_numpy(down[:, :, None] & right[:, None, :])

    def _pair(self, number: int, sample: Any) -> tuple[Any, Any]:
        if isinstance(sample, Mapping) and self.image in sample:
            image, target = sample[self.image], {key: value for key, value in sample.items() if key != self.image}
        elif isinstance(sample, tuple | list) and len(sample) == 2:
            image, target = sample
        else:
            what = f"a dict of {', '.join(map(str, sample))}" if isinstance(sample, Mapping) else type(sample).__name__
            raise TypeMismatchError(
                f"a sample for detection is a pair (image, target), or a dict with the key {self.image!r}; sample {number} is {what}."
            )
        if not isinstance(image, torch.Tensor | np.ndarray) or image.ndim != 3:
            raise TypeMismatchError(
                f"an image must be an array or tensor [channels, height, width]; that of sample {number} is "
                f"{list(image.shape) if hasattr(image, 'shape') else type(image).__name__}."
            )
        return image, target


def _private(value: Any) -> Any:
    """A target with its arrays as tensors in memory of their own."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
    if isinstance(value, Mapping):
        return {key: _private(inner) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_private, value))
    return type(value)(map(_private, value)) if type(value) in (list, tuple) else value
