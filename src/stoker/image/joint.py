"""Joint: one pipeline for an image and what belongs to it: masks, boxes and keypoints, under one key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.decode import EncodedImage
from stoker.image.frame import Frame
from stoker.image.pipeline import Pipeline, key_in_use

Names = str | Sequence[str]


class Joint:
    """A `Pipeline` for the column `image`, whose geometry the other named columns follow.

    The image's pixels are those that ``Pipeline(*ops)`` gives under the same key. Operations on pixels, and callables, see
    the image alone; a callable that changes the size is refused.

    Args:
        ops: as a Pipeline takes them.
        image: the image's column.
        mask: columns of masks [height, width] or [..., height, width], in any form and dtype that a mask may have (a file's
            bytes, whose palette indices are kept, a PIL image, an array, a tensor). Nearest pixels, so that no value
            appears that was not there; padding is `fill`.
        boxes: a column of boxes [n, 4] as (x0, y0, x1, y1) in pixels. Float32, clipped to the result.
        keypoints: columns of points [..., 2] as (x, y), or [..., 3] as (x, y, visibility). Float32. With visibility, a
            point that has left the picture, and one whose visibility is 0, becomes (0, 0, 0).
        per_box: columns with a row for each box (labels, areas; masks and keypoints of instances may be among them).
        drop_empty: whether boxes of which nothing is left are dropped, and their rows of `per_box` with them.
        swap_when_mirrored: pairs of points along the last but one dimension that change places in a mirror: left eye and
            right eye.
        layout: of the image, "chw" or "hwc".

    Coordinates are continuous: an image is `width` wide, the middle of its first pixel is at 0.5. To points given as whole
    pixel numbers, 0.5 is to be added first.

    Deterministic, thread-safe and picklable as a Pipeline is.
    """

    def __init__(
        self,
        *ops: Any,
        image: str = "image",
        mask: Names = (),
        boxes: str | None = None,
        keypoints: Names = (),
        per_box: Names = (),
        drop_empty: bool = False,
        swap_when_mirrored: Sequence[tuple[int, int]] = (),
        fill: float = 0,
        layout: str = "chw",
    ) -> None:
        self._pipeline = Pipeline(*ops, layout=layout)
        self.image, self.boxes, self.drop_empty, self.fill = image, boxes, drop_empty, fill
        self.mask, self.keypoints, self.per_box = _names(mask), _names(keypoints), _names(per_box)
        self.swap_when_mirrored = tuple((int(left), int(right)) for left, right in swap_when_mirrored)
        if boxes is None and (drop_empty or self.per_box):
            raise ArgumentError("drop_empty and per_box speak of boxes; name their column: boxes='boxes'.")
        primary = [image, *self.mask, *([] if boxes is None else [boxes]), *self.keypoints]
        if len(set(primary)) != len(primary):
            raise ArgumentError(f"a column is either image, mask, boxes or keypoints; got {', '.join(primary)}.")
        self.columns = tuple(dict.fromkeys([*primary, *self.per_box]))
        """All columns that it needs, the image's first."""
        self.takes_raw = frozenset({image, *self.mask})
        """Columns whose files' bytes it wants as they are: an image to decode a part of, a mask to keep from becoming RGB."""

    @property
    def draws_randomness(self) -> bool:
        """As a Pipeline's."""
        return self._pipeline.draws_randomness

    def __call__(self, **columns: Any) -> dict[str, Any]:
        """The named columns of a sample, transformed. Columns that it was not told of come back as they are.

        Raises:
            ArgumentError: a column is missing.
            ImageError: the image or a mask cannot be decoded.
            TypeMismatchError: a mask's size is not the image's, or boxes or points have another shape.
        """
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise ArgumentError(f"Joint needs {', '.join(self.columns)}; {', '.join(missing)} was not given.")
        pixels, frame, size = self._pipeline.run_framed(columns[self.image], key_in_use())
        result = {**columns, self.image: pixels}
        for name in self.mask:
            result[name] = frame.mask(_mask(columns[name], size, name), self.fill)
        for name in self.keypoints:
            result[name] = self._points(_floats(columns[name], (2, 3), name), frame)
        if self.boxes is not None:
            self._place_boxes(result, frame)
        return result

    def _points(self, points: torch.Tensor, frame: Frame) -> torch.Tensor:
        points = frame.points(points)
        if frame.mirrors and self.swap_when_mirrored:
            order = list(range(points.shape[-2]))
            for left, right in self.swap_when_mirrored:
                order[left], order[right] = order[right], order[left]
            points = points[..., order, :]
        return points

    def _place_boxes(self, result: dict[str, Any], frame: Frame) -> None:
        assert self.boxes is not None
        boxes = frame.boxes(_floats(result[self.boxes], (4,), self.boxes))
        if self.drop_empty:
            kept = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
            for name in self.per_box:
                result[name] = _chosen(result[name], kept, name)
            boxes = boxes[kept]
        result[self.boxes] = boxes

    def describe(self) -> list[tuple[str, str]]:
        """Each operation's text, and where it runs."""
        return self._pipeline.describe()

    def __reduce__(self) -> Any:
        keywords = {
            "image": self.image, "mask": self.mask, "boxes": self.boxes, "keypoints": self.keypoints,
            "per_box": self.per_box, "drop_empty": self.drop_empty, "swap_when_mirrored": self.swap_when_mirrored,
            "fill": self.fill, "layout": self._pipeline.layout,
        }  # fmt: skip
        return _rebuild, (self._pipeline.ops, keywords)

    def __repr__(self) -> str:
        return f"Joint({', '.join([*(text for text, _ in self.describe()), *self.columns])})"


def _rebuild(ops: tuple[Any, ...], keywords: Mapping[str, Any]) -> Joint:
    return Joint(*ops, **keywords)


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _mask(value: Any, size: tuple[int, int], name: str) -> torch.Tensor:
    """A mask as a tensor [..., height, width] that may share its memory; palette indices are kept as they are."""
    if isinstance(value, EncodedImage | bytes):
        value = _undecoded(value)
    if isinstance(value, Image.Image):
        value = np.array(value)  # also of a palette image: its indices
    mask = torch.as_tensor(value)
    if tuple(mask.shape[-2:]) != size:
        raise TypeMismatchError(
            f"mask {name!r} must be [..., {size[0]}, {size[1]}], as large as the image; got shape {tuple(mask.shape)}."
        )
    return mask


def _undecoded(value: EncodedImage | bytes) -> Image.Image:
    """The file's values as they stand in it, not as colours."""
    encoded = value if isinstance(value, EncodedImage) else EncodedImage(value)
    with encoded.opened() as image:
        image.load()
        return ImageOps.exif_transpose(image)


def _floats(value: Any, widths: tuple[int, ...], name: str) -> torch.Tensor:
    """Float32 [..., one of widths]."""
    tensor = torch.as_tensor(value, dtype=torch.float32)
    if tensor.numel() == 0 and tensor.ndim == 1:  # an empty list: no boxes
        tensor = tensor.reshape(0, widths[0])
    if tensor.ndim < 2 or tensor.shape[-1] not in widths:
        allowed = " or ".join(f"[..., {width}]" for width in widths)
        raise TypeMismatchError(f"{name!r} must be of shape {allowed}; got {tuple(tensor.shape)}.")
    return tensor


def _chosen(value: Any, kept: torch.Tensor, name: str) -> Any:
    """The rows of `value` that go with the boxes that are kept."""
    if len(value) != len(kept):
        raise TypeMismatchError(f"{name!r} must have a row for each of {len(kept)} boxes; got {len(value)}.")
    if isinstance(value, torch.Tensor):
        return value[kept]
    if isinstance(value, np.ndarray):
        return value[kept.numpy()]
    return [element for element, keeps in zip(value, kept.tolist(), strict=True) if keeps]
