"""Contact sheets: many pictures on one, with a caption below each, for people to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stoker.errors import ArgumentError, TypeMismatchError

_PAPER, _TILE, _INK = (252, 252, 252), (236, 236, 239), (58, 58, 66)
_CHANNELS = (1, 3, 4)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def contact_sheet(images: Sequence[Any], captions: Sequence[str], columns: int = 8, tile: int = 160) -> Image.Image:
    """The pictures in rows of `columns`, each whole within a square of `tile` pixels, its caption below it.

    Args:
        images: whatever `as_picture` takes.
        captions: one for each; what is too long ends in dots.
        columns: pictures in a row, at most.
        tile: the side of a picture's square, in pixels.

    Raises:
        ArgumentError: there are no images, or not as many captions, or `columns` or `tile` is too small.
        TypeMismatchError: one is no picture.
    """
    if not images or len(images) != len(captions):
        raise ArgumentError(f"a sheet needs images, and a caption for each; got {len(images)} and {len(captions)}.")
    if columns < 1 or tile < 16:
        raise ArgumentError(f"columns must be at least 1 and tile at least 16; got columns={columns}, tile={tile}.")
    columns = min(columns, len(images))
    margin, size = max(4, tile // 14), max(10, tile // 12)
    font, pitch = ImageFont.load_default(size), tile + margin + 2 * size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (margin + columns * (tile + margin), margin + rows * pitch), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = margin + number % columns * (tile + margin), margin + number // columns * pitch
        sheet.paste(_letterboxed(as_picture(image), tile), (left, top))
        draw.text((left, top + tile + size // 3), _shortened(caption, draw, font, tile), fill=_INK, font=font)
    return sheet


def save_sheet(sheet: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes a sheet in the format that the path's ending names.

    Raises:
        ArgumentError: the ending is not that of an image format.
    """
    try:
        sheet.save(path)
    except ValueError as error:
        raise ArgumentError(f"a sheet is an image: name it .png, .jpg or .webp; got {os.fspath(path)!r}.") from error


def as_picture(image: Any) -> Image.Image:
    """A picture to look at, of a PIL image, an array or a tensor: [h, w], [channels, h, w] or [h, w, channels].

    uint8 is shown as it is, and floats in [0, 1] as well; any other numbers are stretched, so that the least is black and
    the greatest white: that is what becomes visible of a normalised image.

    Raises:
        TypeMismatchError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    kind = _kind(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype is torch.bfloat16 else image).numpy()
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or not image.size:
        raise TypeMismatchError(
            f"a picture must be a PIL image, an array or a tensor of 2 or 3 dimensions; got {kind}."
        )
    planes = image[:, :, None] if image.ndim == 2 else image
    if image.ndim == 3 and image.shape[0] in _CHANNELS:
        planes = np.moveaxis(planes, 0, -1)
    if planes.shape[-1] not in _CHANNELS:
        raise TypeMismatchError(f"a picture must have 1, 3 or 4 channels, first or last; got {kind}.")
    pixels = planes if planes.dtype == np.uint8 else _stretched(planes)
    channels = pixels.shape[-1]
    data = np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels)
    return Image.frombytes(_MODES[channels], (data.shape[1], data.shape[0]), data.tobytes()).convert("RGB")


def _kind(value: Any) -> str:
    return f"{type(value).__qualname__} of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(type(value))


def _stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of any kind as uint8."""
    numbers = np.nan_to_num(values.astype(np.float64))
    least, greatest = float(numbers.min()), float(numbers.max())
    if not (values.dtype.kind in "fb" and least >= 0 and greatest <= 1):
        numbers = (numbers - least) / (greatest - least) if greatest > least else np.full_like(numbers, 0.5)
    return np.rint(numbers * 255).astype(np.uint8)


def _letterboxed(picture: Image.Image, side: int) -> Image.Image:
    """All of a picture in the middle of a square. A tiny one is enlarged by a whole number, so that its pixels stay visible."""
    scale = side / max(picture.size)
    if scale >= 2:
        width, height = (int(scale) * length for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    elif scale < 1:
        width, height = (max(1, round(scale * length)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), _TILE)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: Any, width: int) -> str:
    """The text on one line, with dots where it would be wider than `width` pixels."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:200]).split())
    if draw.textlength(line, font) <= width:
        return line
    while line and draw.textlength(f"{line}...", font) > width:
        line = line[:-1]
    return f"{line.rstrip()}..."
