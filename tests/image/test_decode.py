"""Decoding: partial decodes are the full one's pixels, every format arrives as RGB, damage is named."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from stoker.errors import ImageError
from stoker.image import decode
from stoker.image.decode import Box, EncodedImage
from stoker.image.jpeg import read_jpeg_header
from tests.image.pictures import encoded, full_decode, jpeg, smooth


def crop(pixels: Any, box: Box) -> Any:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("size", [(64, 64), (97, 131), (233, 57), (16, 16), (1, 1), (17, 300)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_a_box_is_the_full_decode_s(subsampling: str, size: tuple[int, int], options: dict[str, Any]) -> None:
    data = jpeg(smooth(*size), subsampling, **options)
    reference, image = full_decode(data), EncodedImage(data)
    height, width = size
    for top in range(0, height, max(1, height // 5)):
        for box_height in {1, max(1, (height - top) // 2), height - top}:
            box = Box(top, width // 3, box_height, max(1, width // 2))
            pixels, reduction = image.decode_box(box, (box.height, box.width))
            assert reduction == 1
            assert np.array_equal(pixels, crop(reference, box)), box


def test_boxes_of_photographs_are_the_full_decode_s(photos: Path) -> None:
    generator = np.random.default_rng(0)
    for path in sorted(photos.glob("*/*"))[::7]:
        data = path.read_bytes()
        image = EncodedImage(data)
        height, width = image.size
        reference = full_decode(data)
        top, left = int(generator.integers(0, height)), int(generator.integers(0, width))
        box = Box(top, left, int(generator.integers(1, height - top + 1)), int(generator.integers(1, width - left + 1)))
        assert np.array_equal(image.decode_box(box, (box.height, box.width))[0], crop(reference, box)), path.name


def test_decoding_stops_below_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []
    whole = decode.simplejpeg.decode_jpeg

    def recording(data: bytes, **arguments: Any) -> Any:
        pixels = whole(data, **arguments)
        heights.append(pixels.shape[0])
        return pixels

    monkeypatch.setattr(decode.simplejpeg, "decode_jpeg", recording)
    EncodedImage(jpeg(smooth(400, 100))).decode_box(Box(20, 0, 50, 50), (50, 50))
    assert heights == [96]  # 70 rows, in blocks of 16, and one block more


@pytest.mark.parametrize(("needed", "reduction"), [(100, 2), (101, 1), (50, 4), (25, 8), (24, 8), (200, 1)])
def test_a_crop_of_twice_the_size_is_decoded_at_half(needed: int, reduction: int) -> None:
    image = EncodedImage(jpeg(smooth(320, 320)))
    pixels, used = image.decode_box(Box(40, 40, 200, 200), (needed, needed))
    assert used == reduction
    assert pixels.shape[:2] == (200 // reduction, 200 // reduction)
    reference = np.asarray(Image.fromarray(crop(image.decode(), Box(40, 40, 200, 200))).reduce(reduction)).astype(int)
    assert np.abs(pixels.astype(int) - reference).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_orientation(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(40, 60), format, exif=exif)
    image = EncodedImage(data)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert image.size == upright.shape[:2]
    assert np.abs(image.decode().astype(int) - upright).max() <= (2 if format == "JPEG" else 0)
    box = Box(5, 7, 20, 30)
    assert np.array_equal(image.decode_box(box, (20, 30))[0], crop(image.decode(), box))


GREY = smooth(30, 40)[:, :, 0]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("grey JPEG", encoded(GREY, "JPEG", quality=100), np.stack([GREY] * 3, -1)),
        ("grey PNG", encoded(GREY, "PNG"), np.stack([GREY] * 3, -1)),
        ("16-bit PNG", encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), np.stack([GREY] * 3, -1)),
        ("1-bit PNG", encoded(Image.fromarray(GREY > 128), "PNG"), np.stack([(GREY > 128) * np.uint8(255)] * 3, -1)),
        ("RGBA PNG", encoded(np.dstack([smooth(30, 40), GREY]), "PNG"), smooth(30, 40)),
        ("LA PNG", encoded(Image.fromarray(np.dstack([GREY, GREY])), "PNG"), np.stack([GREY] * 3, -1)),
        ("palette GIF", encoded(Image.fromarray(GREY // 16).convert("P"), "GIF"), np.stack([GREY // 16] * 3, -1)),
        ("BMP", encoded(smooth(30, 40), "BMP"), smooth(30, 40)),
        ("WebP", encoded(smooth(30, 40), "WEBP", lossless=True), smooth(30, 40)),
    ],
)
def test_every_format_arrives_as_rgb(name: str, data: bytes, expected: Any) -> None:
    pixels = EncodedImage(data).decode()
    assert (pixels.shape, pixels.dtype) == (expected.shape, np.uint8)
    assert np.abs(pixels.astype(int) - expected).max() <= (3 if "JPEG" in name else 0)


def test_cmyk_jpegs_are_decoded_as_pillow_does() -> None:
    data = encoded(Image.fromarray(smooth(30, 40)).convert("CMYK"), "JPEG")
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(EncodedImage(data).decode(), reference)


WHOLE = jpeg(smooth(120, 160))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image at all", "of no image format that Pillow reads; they begin with b'no image'"),
        (WHOLE[:10], "no image format|Truncated|truncated|broken"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (encoded(smooth(30, 40), "PNG")[:200], "truncated|broken|unpack|no image format"),
    ],
)
def test_damage_names_the_file(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=rf"cannot decode the image cats/7\.jpg: .*({reason})"):
        EncodedImage(data, "cats/7.jpg").decode()


def test_a_truncated_photograph_is_refused_in_a_crop_too() -> None:
    with pytest.raises(ImageError, match="truncated"):
        EncodedImage(WHOLE[: len(WHOLE) * 2 // 3], "x").decode_box(Box(0, 0, 110, 100), (110, 100))


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    for data in (jpeg(smooth(40, 40)), encoded(smooth(40, 40), "PNG")):
        with pytest.raises(
            ImageError, match=r"40×40 pixels exceed the limit of 1,000 \(stoker\.image\.decode\.MAX_PIXELS\)"
        ):
            EncodedImage(data).decode()


@given(st.binary(max_size=300), st.integers(0, len(WHOLE) - 1))
def test_hostile_headers_are_read_or_refused(noise: bytes, place: int) -> None:
    for data in (noise, b"\xff\xd8" + noise, WHOLE[:place] + noise + WHOLE[place:], WHOLE[:place]):
        header = read_jpeg_header(data)
        assert header is None or 0 < header.height_offset <= len(data) - 2


def test_images_travel() -> None:
    image = pickle.loads(pickle.dumps(EncodedImage(WHOLE, "a/b.jpg")))
    assert (image.data, image.path, image.size) == (WHOLE, "a/b.jpg", (120, 160))
