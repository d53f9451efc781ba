"""BatchPipeline: operations on the images of whole batches, on whatever device those are."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.photometric import apply_pixels, is_pixel_op
from stoker.image.pipeline import key_in_use
from stoker.order.keys import derive, derive_array, derive_each


class BatchPipeline:
    """Runs `ops` over the images of a batch: ``dataset.map(batch=BatchPipeline(ColorJitter(0.4), Normalize(mean, std)))``.

    Takes Stoker's operations on pixels (each image has parameters of its own) and those that mix images: Mixup, CutMix,
    RandomChoice. With ``Loader(device=...)`` it runs on the device, after the copy.

    Calling it with a batch gives a batch of the same structure; other parts of it are passed on. Parameters come from the
    batch's key inside a loader; outside of one a key is drawn from torch's global generator. Thread-safe; pickles.

    Args:
        ops: at least one.
        image: where the images [n, channels, height, width] stand in the batch: the name of a column, or the place in a
            sequence. By default "image" in a dict, the first in a sequence, or the batch itself.
        label: where the labels stand that mixing makes soft; by default "label", or the second.
        num_classes: of the soft labels; needed where images are mixed.
    """

    draws_randomness = False
    """It draws from its key alone."""

    runs_on_device = True
    """A loader may run it on a device, by `run`."""

    def __init__(
        self, *ops: Any, image: str | int | None = None, label: str | int | None = None, num_classes: int | None = None
    ) -> None:
        for op in ops:
            if not is_pixel_op(op) and not hasattr(op, "apply_mix"):
                raise TypeMismatchError(
                    f"an operation on batches must be one of stoker.image's on pixels, or Mixup or CutMix; got {op!r}."
                )
        if not ops or (num_classes is None and any(hasattr(op, "apply_mix") for op in ops)):
            raise ArgumentError("BatchPipeline needs operations, and num_classes where images are mixed.")
        self.ops, self.image, self.label, self.num_classes = ops, image, label, num_classes

    def __call__(self, batch: Any) -> Any:
        return self.run(batch, key_in_use())

    def run(self, batch: Any, key: int) -> Any:
        """The batch under a batch's key.

        Raises:
            TypeMismatchError: there are no images or labels where they are looked for.
        """
        images, labels = self._images(batch), None
        for number, op in enumerate(self.ops):
            here = derive(key, number)
            if hasattr(op, "apply_mix"):
                labels = part_of(batch, self.label, "label", 1) if labels is None else labels
                images, labels = op.apply_mix(images, labels, self.num_classes, here)
            else:
                images = apply_pixels(op, images, derive_each(here, len(images)))
        batch = with_part(batch, self.image, "image", 0, images)
        return batch if labels is None else with_part(batch, self.label, "label", 1, labels)

    def _images(self, batch: Any) -> torch.Tensor:
        images = part_of(batch, self.image, "image", 0)
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            raise TypeMismatchError(
                f"images of a batch must be a tensor [n, channels, height, width]; got {_kind(images)}."
            )
        return images

    def describe(self) -> list[str]:
        """Each operation's text."""
        return [repr(op) for op in self.ops]

    def __repr__(self) -> str:
        return f"BatchPipeline({', '.join(self.describe())})"


class PixelTail:
    """The operations on pixels at the end of a column's Pipeline, to be run over batches, with the same draws.

    Args:
        ops: with the number that each has in its pipeline.
        column, place: of the images, in batches that are dicts or sequences.
    """

    def __init__(self, ops: Sequence[tuple[int, Any]], column: str, place: int) -> None:
        self.ops, self.column, self.place = tuple(ops), column, place

    def run(self, batch: Any, keys: NDArray[np.uint64]) -> Any:
        """The batch under its samples' keys; where samples were dropped there are more keys than rows."""
        where = self.column if isinstance(batch, MutableMapping) else self.place
        images = part_of(batch, where, self.column, self.place)
        for number, op in self.ops:
            images = apply_pixels(op, images, derive_array(keys[: len(images)], number))
        return with_part(batch, where, self.column, self.place, images)


def part_of(batch: Any, where: str | int | None, name: str, place: int) -> Any:
    """The part of a batch that stands at `where`, by default at `name` of a dict and at `place` of a sequence."""
    if isinstance(batch, torch.Tensor) and place == 0 and where in (None, 0):
        return batch
    try:
        return batch[_key(batch, where, name, place)]
    except (KeyError, IndexError, TypeError):
        held = list(batch) if isinstance(batch, MutableMapping) else _kind(batch)
        raise TypeMismatchError(f"there is no {where if where is not None else name!r} in the batch: {held}.") from None


def with_part(batch: Any, where: str | int | None, name: str, place: int, value: Any) -> Any:
    """The batch with another value there; a new container, of the same type."""
    if isinstance(batch, torch.Tensor):
        return value
    key = _key(batch, where, name, place)
    if isinstance(batch, tuple):
        parts = list(batch)
        parts[key] = value
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    changed = batch.copy()
    changed[key] = value
    return changed


def _key(batch: Any, where: str | int | None, name: str, place: int) -> Any:
    if where is not None:
        return where
    return name if isinstance(batch, MutableMapping) else place


def _kind(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
    return f"{type(value).__qualname__}{shape}"
