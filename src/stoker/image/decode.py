"""Decoding no more of an image than is needed: a JPEG at a fraction of its size, and only down to the crop's last row."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stoker._native import extract_tiles
from stoker.errors import ImageError
from stoker.image.jpeg import JpegHeader, read_jpeg_header

MAX_PIXELS = 1 << 28
"""Images with more pixels are refused before anything is allocated; ``stoker.image.decode.MAX_PIXELS = ...`` raises the limit."""

_EOI = b"\xff\xd9"
_REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height


class EncodedImage:
    """The bytes of an image file, decoded when and as far as they are needed. Immutable; thread-safe; pickles.

    Args:
        data: the file's bytes, in any format that Pillow reads.
        path: where they come from, for errors.
    """

    __slots__ = ("_header", "_size", "data", "path")

    def __init__(self, data: bytes, path: str | None = None) -> None:
        self.data = data
        self.path = path
        self._header: JpegHeader | None = read_jpeg_header(data)
        self._size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, as seen: after the EXIF orientation.

        Raises:
            ImageError: these bytes are no image, or one that is too large.
        """
        if self._size is None:
            self._size = self._read_size()
        return self._size

    def _read_size(self) -> tuple[int, int]:
        header = self._header
        if header is not None:
            height, width, orientation = header.height, header.width, header.orientation
        else:
            with self.opened() as image:
                (width, height), orientation = image.size, self._orientation(image)
        if height * width > MAX_PIXELS:
            raise self._error(
                f"{width}×{height} pixels exceed the limit of {MAX_PIXELS:,} (stoker.image.decode.MAX_PIXELS)"
            )
        return (width, height) if orientation in (5, 6, 7, 8) else (height, width)

    def _orientation(self, image: Image.Image) -> int:
        try:
            return int(image.getexif().get(0x0112, 1))
        except Exception as error:  # some formats keep it at their end
            raise self._error(str(error)) from error

    def decode(self) -> NDArray[np.uint8]:
        """All pixels: uint8 [height, width, 3], RGB, private and writable.

        Raises:
            ImageError: the image is damaged, truncated or too large; names its path.
        """
        return self.decode_box(Box(0, 0, *self.size), self.size)[0]

    def decode_box(self, box: Box, at_least: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
        """The pixels of `box`, reduced by 8, 4, 2 or 1: the most that leaves at least `at_least` (height, width) of them.

        Returns:
            uint8 [about box.height / r, about box.width / r, 3], a view of what was decoded, and r. With r of 1 the
            pixels are those of a full decode, bit for bit.
        """
        _ = self.size  # refuses what is too large before anything is allocated
        header = self._header
        if header is None or header.orientation != 1 or header.num_components == 4:
            pixels = self._decode_all()
            return pixels[box.top : box.bottom, box.left : box.left + box.width], 1
        reduction = next((r for r in _REDUCTIONS if box.height >= r * at_least[0] and box.width >= r * at_least[1]), 1)
        pixels, above, before = self._decode_around(header, box, reduction)
        top, left = (box.top - above) // reduction, (box.left - before) // reduction
        height, width = max(1, box.height // reduction), max(1, box.width // reduction)
        return pixels[top : top + height, left : left + width], reduction

    def _decode_around(self, header: JpegHeader, box: Box, reduction: int) -> tuple[NDArray[np.uint8], int, int]:
        """Reduced pixels that hold those of `box`, and the row and column of the first one: multiples of 8, before reduction."""
        tiles = None
        if header.is_tiled and self.data.endswith(_EOI):
            tiles = extract_tiles(self.data, box.top, box.left, box.height, box.width)
        if tiles is not None:
            data, top, left = tiles
            try:
                size = simplejpeg.decode_jpeg_header(data)[:2] if reduction > 1 else (0, 0)
                return simplejpeg.decode_jpeg(data, **_reduced(size, reduction)), top, left
            except ValueError:  # damage: the whole file will say how
                pass
        return self._decode_rows(header, box.bottom, reduction), 0, 0

    def _decode_rows(self, header: JpegHeader, bottom: int, reduction: int) -> NDArray[np.uint8]:
        """At least rows ``[0, bottom)``, reduced. Stops below them where the file allows it: the header is told a smaller height."""
        data: bytes | bytearray = self.data
        # One more row of blocks than is needed: upsampled colour at an image's last row differs from that within it.
        height = (-(-bottom // header.mcu_height) + 1) * header.mcu_height
        stops = header.single_scan and height < header.height and data.find(_EOI, -2) >= 0
        if stops:
            data = bytearray(data)
            struct.pack_into(">H", data, header.height_offset, height)
        else:
            height = header.height
        arguments = _reduced((height, header.width), reduction)
        try:
            # Not strict where decoding stops early: what follows the last row would be called extraneous.
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, strict=not stops, **arguments)
        except ValueError:
            return (
                self._decode_all()[::reduction, ::reduction] if reduction == 1 else self._reduced_by_pillow(reduction)
            )
        return pixels

    def _reduced_by_pillow(self, reduction: int) -> NDArray[np.uint8]:
        pixels = self._decode_all()
        return np.asarray(Image.fromarray(pixels).reduce(reduction))

    def _decode_all(self) -> NDArray[np.uint8]:
        """Through Pillow: any format, any orientation. It judges damaged files; a JPEG that simplejpeg refuses comes here too."""
        try:
            with self.opened() as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
                return np.array(to_rgb(upright))
        except ImageError:
            raise
        except Exception as error:
            raise self._error(str(error)) from error

    def opened(self) -> Image.Image:
        """As Pillow opens it, not decoded and not turned yet. Raises ImageError."""
        try:
            return Image.open(io.BytesIO(self.data))
        except UnidentifiedImageError as error:  # its own text names an object in memory
            begins = f"they begin with {self.data[:8]!r}" if self.data else "the file is empty"
            raise self._error(f"its bytes are of no image format that Pillow reads; {begins}") from error
        except Exception as error:
            raise self._error(str(error)) from error

    def _error(self, reason: str) -> ImageError:
        place = f"the image {self.path}" if self.path else f"an image of {len(self.data):,} bytes"
        return ImageError(f"cannot decode {place}: {reason}")

    def __reduce__(self) -> Any:
        return EncodedImage, (self.data, self.path)

    def __repr__(self) -> str:
        return f"EncodedImage({len(self.data):,} bytes{f', {self.path}' if self.path else ''})"


def _reduced(size: tuple[int, int], reduction: int) -> dict[str, Any]:
    """simplejpeg's arguments to decode an image of `size` at one `reduction`-th of it."""
    if reduction == 1:
        return {}
    return {"min_height": -(-size[0] // reduction), "min_width": -(-size[1] // reduction), "min_factor": reduction}


def to_rgb(image: Image.Image) -> Image.Image:
    """An 8-bit RGB image: grey and palette are expanded, alpha is dropped, 16 bits lose their lower half."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range nobody knows; convert them to 8 bits")
    return image if image.mode == "RGB" else image.convert("RGB")
