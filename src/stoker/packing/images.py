"""What becomes of an image that is packed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

from stoker.image.decode import EncodedImage, to_rgb
from stoker.image.resize import resize_and_flip
from stoker.image.tiles import retile
from stoker.packing.options import PackOptions

_JPEG = b"\xff\xd8"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def is_image(value: Any) -> bool:
    """Whether a store keeps it as an image: PIL's, or an encoded one."""
    return isinstance(value, EncodedImage | Image.Image)


def packed_image(image: Any, options: PackOptions) -> tuple[Any, str]:
    """The bytes of a file (or, for raw, uint8 [height, width, 3]), and in a word what was done.

    Raises:
        ImageError: it cannot be decoded, and has to be.
    """
    if options.images == "raw":
        return _resized(image, options), "stored as pixels"
    too_large = options.max_side is not None and max(_size(image)) > options.max_side
    if options.images == "jpeg" or too_large:
        return _as_jpeg(_resized(image, options), options), "encoded anew as JPEG"
    if isinstance(image, EncodedImage):
        _ = image.size  # what is no image is not packed as one
        tiled = retile(image.data, options.tile_mcus)
        if tiled is not None:
            return tiled, "tiled without loss"
        kind = "a JPEG that cannot be tiled" if image.data[:2] == _JPEG else "no JPEG"
        return image.data, f"kept as it was: {kind}"
    stream = io.BytesIO()
    image = image if image.mode in _PNG_MODES else to_rgb(image)
    image.save(stream, "PNG", exif=b"")  # a picture in memory is as it is seen: its orientation must not turn it again
    return stream.getvalue(), "encoded without loss as PNG"


def _as_jpeg(pixels: NDArray[np.uint8], options: PackOptions) -> bytes:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=options.quality, colorsubsampling="420")
    return retile(data, options.tile_mcus) or data


def _size(image: Any) -> tuple[int, int]:
    return image.size if isinstance(image, EncodedImage) else (image.height, image.width)


def _resized(image: Any, options: PackOptions) -> NDArray[np.uint8]:
    """The pixels, uint8 [height, width, 3], the longer side at most `max_side`."""
    pixels = image.decode() if isinstance(image, EncodedImage) else np.array(to_rgb(image))
    height, width = pixels.shape[:2]
    if options.max_side is None or max(height, width) <= options.max_side:
        return np.asarray(pixels)
    scale = options.max_side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    planes = torch.from_numpy(pixels).permute(2, 0, 1)
    resized = resize_and_flip(planes, size, antialias=True, horizontally=False, vertically=False)
    return np.ascontiguousarray(resized.permute(1, 2, 0).numpy())
