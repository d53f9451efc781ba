"""A view of an image: what is to be seen of it, before any of it is decoded.

Crop, resize and flip only change the view. Pixels are made when something needs them, and then no more of them than the
view shows: that is how the first crop of a pipeline is decoded alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from stoker.errors import TypeMismatchError
from stoker.image.decode import Box, EncodedImage, to_rgb
from stoker.image.resize import resize_and_flip


class Showing(Protocol):
    """What geometry changes: a `View` of an image, or a `Frame` that follows where its pixels go. `size` is (height, width)."""

    @property
    def size(self) -> tuple[int, int]: ...

    def cropped(self, box: Box) -> Self: ...

    def padded(self, top: int, bottom: int, left: int, right: int) -> Self: ...

    def resized(self, height: int, width: int, *, antialias: bool) -> Self: ...

    def flipped(self, *, horizontally: bool = False, vertically: bool = False) -> Self: ...


@dataclass(frozen=True, slots=True)
class View:
    """Rectangle `box` of `source`, resized to `size` (height, width), then flipped.

    `source` is an EncodedImage or a tensor [channels, height, width].
    """

    source: EncodedImage | torch.Tensor
    box: Box
    size: tuple[int, int]
    antialias: bool = True
    flips_horizontally: bool = False
    flips_vertically: bool = False

    @staticmethod
    def of(image: Any) -> View:
        """All of an image: EncodedImage, bytes of a file, PIL image, ndarray [h, w, 3] or [h, w], tensor [c, h, w].

        Raises:
            TypeMismatchError: it is none of these.
        """
        source = image if isinstance(image, EncodedImage) else _source(image)
        height, width = source.size if isinstance(source, EncodedImage) else source.shape[-2:]
        return View(source, Box(0, 0, height, width), (height, width))

    @property
    def is_pristine(self) -> bool:
        """Whether neither resize nor flip is pending, so that a crop can still be taken of the source itself."""
        return self.size == (self.box.height, self.box.width) and not (self.flips_horizontally or self.flips_vertically)

    def cropped(self, box: Box) -> View:
        """Rectangle `box` of what this view shows."""
        if not self.is_pristine:
            return View.of(self.pixels()).cropped(box)
        inner = Box(self.box.top + box.top, self.box.left + box.left, box.height, box.width)
        return replace(self, box=inner, size=(box.height, box.width))

    def padded(self, top: int, bottom: int, left: int, right: int) -> View:
        """What this view shows, with so many black rows and columns around it."""
        return View.of(functional.pad(self.pixels(), (left, right, top, bottom)))

    def resized(self, height: int, width: int, *, antialias: bool) -> View:
        """What this view shows, in another size."""
        if not self.is_pristine:
            return View.of(self.pixels()).resized(height, width, antialias=antialias)
        return replace(self, size=(height, width), antialias=antialias)

    def flipped(self, *, horizontally: bool = False, vertically: bool = False) -> View:
        """What this view shows, mirrored."""
        return replace(
            self,
            flips_horizontally=self.flips_horizontally != horizontally,
            flips_vertically=self.flips_vertically != vertically,
        )

    def pixels(self) -> torch.Tensor:
        """What this view shows: [channels, height, width], uint8 unless the source is another tensor; may share the source's memory."""
        box = self.box
        if isinstance(self.source, EncodedImage):
            array, _ = self.source.decode_box(box, self.size)
            pixels = torch.from_numpy(array).permute(2, 0, 1)
        else:
            pixels = self.source[:, box.top : box.bottom, box.left : box.left + box.width]
        return resize_and_flip(
            pixels,
            self.size,
            antialias=self.antialias,
            horizontally=self.flips_horizontally,
            vertically=self.flips_vertically,
        )

    def shares_memory(self, pixels: torch.Tensor) -> bool:
        """Whether `pixels` lie in the memory of this view's source, which is the caller's."""
        source = self.source
        return (
            isinstance(source, torch.Tensor)
            and source.untyped_storage().data_ptr() == pixels.untyped_storage().data_ptr()
        )

    def pil(self) -> Image.Image:
        """What this view shows, as a PIL image."""
        return Image.fromarray(self.array())

    def array(self) -> Any:
        """What this view shows, as a contiguous ndarray [height, width, channels]."""
        return np.ascontiguousarray(self.pixels().permute(1, 2, 0).numpy())


def _source(image: Any) -> EncodedImage | torch.Tensor:
    if isinstance(image, bytes | bytearray | memoryview):
        return EncodedImage(bytes(image))
    if isinstance(image, Image.Image):
        return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        planes = image[:, :, None] if image.ndim == 2 else image
        return torch.from_numpy(planes if planes.flags.writeable else planes.copy()).permute(2, 0, 1)
    if isinstance(image, torch.Tensor) and image.ndim == 3:
        return image
    shape = f" of shape {tuple(image.shape)}" if hasattr(image, "shape") else ""
    raise TypeMismatchError(
        "an image must be an EncodedImage, the bytes of a file, a PIL image, an array [height, width, channels] or a tensor "
        f"[channels, height, width]; got {type(image).__module__}.{type(image).__qualname__}{shape}."
    )
