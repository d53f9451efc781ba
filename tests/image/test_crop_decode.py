"""The crop decoder beside libjpeg-turbo, which a View decodes with: the same pixels, or left to the caller."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stoker._native import decode_crops, jpeg_sizes
from stoker.errors import ImageError
from stoker.image import retile
from stoker.image.decode import Box, EncodedImage
from stoker.image.jpeg import read_jpeg_header
from tests.image.crops import Crop, decode_batch, pointers, random_box, size_of
from tests.image.pictures import encoded, smooth

SUBSAMPLINGS = ["444", "422", "420", "440", "grey"]
SIZES = [(1, 1), (2, 2), (3, 4), (7, 5), (8, 8), (9, 4), (16, 16), (17, 33), (97, 131), (131, 208), (40, 8 * 23)]


def noisy(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(height * width).integers(0, 120, (height, width, 3), dtype=np.uint8)
    return smooth(height, width) // 2 + noise


def file_of(subsampling: str, size: tuple[int, int], quality: int = 85) -> bytes:
    pixels = noisy(*size)
    if subsampling == "grey":
        return simplejpeg.encode_jpeg(pixels[:, :, :1].copy(), quality, colorspace="GRAY", colorsubsampling="Gray")
    return simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=subsampling)


def check(crop: Crop) -> None:
    pixels = crop.decoded()
    assert pixels is not None, crop.box
    assert np.array_equal(pixels, crop.reference()), (crop.box, crop.size, crop.flips)


def check_random_crops(data: bytes, seed: int, count: int = 3) -> None:
    """Crops at every reduction, flipped and resized or not."""
    generator = np.random.default_rng(seed)
    height, width = EncodedImage(data).size
    for reduction in (1, 2, 4, 8):
        for _ in range(count):
            box = random_box(generator, height, width)
            size = (max(1, box.height // reduction), max(1, box.width // reduction))
            if generator.random() < 0.3:
                size = (int(generator.integers(1, 60)), int(generator.integers(1, 60)))
            antialias, planar = bool(generator.integers(2)), bool(generator.integers(2))
            check(Crop(data, box, size, int(generator.integers(4)), antialias, planar))


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_photographs_are_libjpeg_s_pixel_for_pixel(every: int, photos: Path) -> None:
    for number, path in enumerate(sorted(photos.glob("*/*"))[::every]):
        data = path.read_bytes()
        if size_of(data)[2] != 1:  # one of them
            continue
        check_random_crops(data, number, 1)
        check_random_crops(retile(data) or b"", number, 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [3, 85, 100])
def test_every_subsampling_and_size_is_libjpeg_s(subsampling: str, size: tuple[int, int], quality: int) -> None:
    data = file_of(subsampling, size, quality)
    check(Crop(data, Box(0, 0, *size), size))
    check_random_crops(data, quality)
    tiled = retile(data, 2)
    assert tiled is not None
    check(Crop(tiled, Box(0, 0, *size), size))
    check_random_crops(tiled, quality)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    "options",
    [
        {"optimize": True},
        {"restart_marker_blocks": 1},
        {"restart_marker_blocks": 3},
        {"restart_marker_blocks": 101},
        {"restart_marker_rows": 2},
        {"comment": b"words", "icc_profile": b"profile"},
        {"qtables": [[300 + i for i in range(64)], [700 - i for i in range(64)]]},
    ],
    ids=str,
)
def test_every_way_of_writing_them_is_libjpeg_s(subsampling: str, options: dict[str, object]) -> None:
    for size in ((200, 310), (131, 8 * 29)):
        check_random_crops(encoded(noisy(*size), "JPEG", subsampling=subsampling, **options), 1)


@pytest.mark.parametrize("share", [0.002, 0.02, 0.2, 0.5])
@pytest.mark.parametrize("subsampling", ["444", "420", "grey"])
def test_large_coefficients_behind_long_runs_are_libjpeg_s(subsampling: str, share: float) -> None:
    """White dots on black: codes and values of up to 26 bits, blocks without an end, many of the symbols rare."""
    generator = np.random.default_rng(int(share * 1000))
    pixels = np.where(generator.random((96, 96, 3)) < share, 255, 0).astype(np.uint8)
    pixels[::2, 48:] = 255 - pixels[1::2, 48:]
    for quality in (50, 92, 100):
        colours = (
            {"colorspace": "GRAY", "colorsubsampling": "Gray"}
            if subsampling == "grey"
            else {"colorsubsampling": subsampling}
        )
        image = pixels[:, :, :1].copy() if subsampling == "grey" else pixels
        data = simplejpeg.encode_jpeg(image, quality, **colours)
        for each in (data, retile(data, 2) or b""):
            check(Crop(each, Box(0, 0, 96, 96), (96, 96)))
            check_random_crops(each, quality, 1)


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    size = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    data = file_of(draw(st.sampled_from(SUBSAMPLINGS)), size, draw(st.integers(1, 100)))
    tile = draw(st.integers(0, 5))
    (top, height), (left, width) = (
        (start := draw(st.integers(0, side - 1)), draw(st.integers(1, side - start))) for side in size
    )
    target = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    chosen = (retile(data, tile) or b"") if tile else data
    return Crop(
        chosen, Box(top, left, height, width), target, draw(st.integers(0, 3)), draw(st.booleans()), draw(st.booleans())
    )


@settings(deadline=None)
@given(crops())
def test_any_crop_is_libjpeg_s(crop: Crop) -> None:
    check(crop)


def test_any_processor_gives_the_same_pixels() -> None:
    """The tests of this file that need no photographs, with the code for any processor."""
    if os.environ.get("STOKER_NO_AVX2"):
        pytest.skip("it is what runs now")
    names = "(every_subsampling and 85) or large or extreme"
    arguments = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", names, __file__]
    environment = {**os.environ, "STOKER_NO_AVX2": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_batch_is_written_image_by_image() -> None:
    data = [file_of("420", (70, 90)), file_of("grey", (50, 60)), b"no JPEG", file_of("444", (64, 64))]
    batch = [Crop(each, Box(3, 5, 40, 50), (32, 24), flips) for flips, each in enumerate(data)]
    status, pixels = decode_batch(batch, (32, 24))
    assert status.tolist() == [0, 0, 1, 0]
    for i in (0, 1, 3):
        assert np.array_equal(pixels[i], batch[i].reference())


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(noisy(40, 60), "JPEG", exif=exif)


def test_what_it_does_not_take_is_left_to_the_caller() -> None:
    plain = encoded(noisy(40, 60), "JPEG")
    rgb = encoded(noisy(40, 60), "JPEG", keep_rgb=True)
    files = {
        "progressive": encoded(noisy(40, 60), "JPEG", progressive=True),
        "CMYK": encoded(Image.fromarray(noisy(40, 60)).convert("CMYK"), "JPEG"),
        "RGB": rgb,
        "4:1:1": simplejpeg.encode_jpeg(noisy(40, 60), 85, colorsubsampling="411"),
        "PNG": encoded(noisy(40, 60), "PNG"),
        "turned": turned(6),
        "cut off": plain[:-200],
        "followed by something": plain + b"more",
        "empty": b"",
    }
    for name, data in files.items():
        assert Crop(data, Box(0, 0, 30, 30), (30, 30)).decoded() is None, name
        if name not in ("turned", "cut off", "followed by something"):
            assert size_of(data)[0] == 0, name


@pytest.mark.parametrize(
    "box",
    [
        (-1, 0, 4, 4),
        (0, -1, 4, 4),
        (0, 0, 0, 4),
        (0, 0, 4, 0),
        (37, 0, 4, 4),
        (0, 57, 4, 4),
        (0, 0, 2**31 - 1, 4),
        (2**31 - 1, 0, 4, 4),
    ],
)
def test_a_box_outside_of_the_image_is_left_to_the_caller(box: tuple[int, int, int, int]) -> None:
    assert Crop(file_of("420", (40, 60)), Box(*box), (4, 4)).decoded() is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_header(orientation: int) -> None:
    for data in (turned(orientation), retile(turned(orientation)) or b""):
        header = read_jpeg_header(data)
        assert header is not None
        assert size_of(data) == (header.height, header.width, header.orientation) == (40, 60, orientation)
        assert (Crop(data, Box(0, 0, 9, 9), (9, 9)).decoded() is None) == (orientation > 1)


def test_sizes_of_photographs_are_those_of_their_headers(photos: Path) -> None:
    files = [path.read_bytes() for path in sorted(photos.glob("*/*"))]
    addresses, sizes, _kept = pointers(files)
    for data, found in zip(files, jpeg_sizes(addresses, sizes).tolist(), strict=True):
        header = read_jpeg_header(data)
        assert header is not None
        assert found == [header.height, header.width, header.orientation]


def test_too_many_pixels_are_left_to_the_caller() -> None:
    data = bytearray(file_of("420", (40, 60)))
    header = read_jpeg_header(bytes(data))
    assert header is not None
    struct.pack_into(">HH", data, header.height_offset, 65_000, 65_000)
    assert size_of(bytes(data))[0] == 0
    struct.pack_into(">HH", data, header.height_offset, 16_000, 16_000)  # more blocks than the file can hold
    assert Crop(bytes(data), Box(0, 0, 16_000, 16_000), (4, 4)).decoded() is None
    assert Crop(bytes(data), Box(0, 0, 16_000, 16_000), (9_000, 9_000)).decoded() is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"sizes": np.zeros(2, np.int64)},
        {"boxes": np.zeros((2, 4), np.int32)},
        {"flips": np.zeros(0, np.uint8)},
        {"target_height": 0},
        {"target_width": -1},
        {"target_stride": 47},
    ],
    ids=str,
)
def test_obvious_mistakes_are_told(arguments: dict[str, object]) -> None:
    given_arguments = {
        "addresses": np.zeros(1, np.uint64),
        "sizes": np.zeros(1, np.int64),
        "boxes": np.zeros((1, 4), np.int32),
        "flips": np.zeros(1, np.uint8),
        "target": 0,
        "target_stride": 48,
        "target_height": 4,
        "target_width": 4,
        "antialias": True,
        "planar": True,
    }
    with pytest.raises(ValueError, match=r"one row for each image: got 1 and \d|a target has at least one pixel"):
        decode_crops(**{**given_arguments, **arguments})


# Hostile bytes.

BOXES = [(Box(0, 0, 40, 56), (40, 56)), (Box(9, 17, 20, 30), (9, 12)), (Box(33, 49, 7, 7), (7, 7))]
SMALL = {
    "420": file_of("420", (40, 56)),
    "422 tiled": retile(file_of("422", (40, 56)), 1) or b"",
    "grey": file_of("grey", (40, 56)),
}


def pixels_by_libjpeg(data: bytes) -> np.ndarray | None:
    """All of them, or None where it warns."""
    try:
        return simplejpeg.decode_jpeg(data)
    except ValueError:
        return None


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_changed_is_left_to_the_caller_or_decoded_as_by_libjpeg(name: str) -> None:
    whole = SMALL[name]
    compared = 0
    for place in range(len(whole)):
        for value in {0x00, 0xFF, whole[place] ^ 0x10, whole[place] ^ 0x01}:
            damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
            box, size = BOXES[place % 3]
            pixels = Crop(damaged, box, size).decoded()
            if pixels is None or size != (box.height, box.width):
                continue
            theirs = pixels_by_libjpeg(damaged)
            if theirs is not None:
                compared += 1
                wanted = theirs[box.top : box.bottom, box.left : box.left + box.width].transpose(2, 0, 1)
                assert np.array_equal(pixels, wanted), (place, value)
            elif box.height == 40:  # the whole picture was decoded: damage is not to be missed
                pytest.fail(f"libjpeg refuses what was decoded: byte {place} is {value}")
    assert compared > 100


def test_extreme_coefficients_are_libjpeg_s() -> None:
    """Quantisation factors that no encoder would write: sums wrap and saturate alike."""
    compared = 0
    for name, whole in SMALL.items():
        place = whole.index(b"\xff\xdb") + 5
        for seed in range(40):
            data = bytearray(whole)
            generator = np.random.default_rng(seed)
            data[place : place + 64] = generator.choice([1, 40, 255], 64).astype(np.uint8).tobytes()
            theirs = pixels_by_libjpeg(bytes(data))
            ours = Crop(bytes(data), Box(0, 0, 40, 56), (40, 56)).decoded()
            assert theirs is not None
            assert ours is not None
            assert np.array_equal(ours, theirs.transpose(2, 0, 1)), (name, seed)
            compared += 1
            check_random_crops(bytes(data), seed, 1)
    assert compared == 120


@pytest.mark.parametrize("name", SMALL)
def test_truncated_files_are_left_to_the_caller(name: str) -> None:
    whole = SMALL[name]
    for length in range(len(whole)):
        for box, size in BOXES:
            assert Crop(whole[:length], box, size).decoded() is None
        end = Crop(whole[:length] + b"\xff\xd9", Box(0, 0, 40, 56), (40, 56)).decoded()
        assert end is None or length >= len(whole) - 2


@settings(deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.binary(max_size=60), st.integers(0, 3000), st.integers(0, 80))
def test_hostile_bytes_never_do_worse(name: str, noise: bytes, place: int, cut: int) -> None:
    whole = SMALL[name]
    place %= len(whole)
    damaged = whole[:place] + noise + whole[place + cut :]
    for data in (damaged, damaged + b"\xff\xd9", noise, b"\xff\xd8" + noise + b"\xff\xd9"):
        for box, size in BOXES:
            Crop(data, box, size).decoded()
        header = read_jpeg_header(data)
        height, width, orientation = size_of(data)
        if height:
            assert header is not None
            assert (height, width, orientation) == (header.height, header.width, header.orientation)


def test_a_skipped_restart_marker_is_noticed() -> None:
    tiled = bytearray(retile(file_of("420", (64, 64)), 1) or b"")
    place = tiled.index(b"\xff\xd1")
    tiled[place + 1] = 0xD2
    assert Crop(bytes(tiled), Box(48, 48, 8, 8), (8, 8)).decoded() is None


def test_what_is_left_is_worded_by_the_slow_path() -> None:
    crop = Crop(file_of("420", (64, 64))[:-300], Box(0, 0, 64, 64), (64, 64))
    assert crop.decoded() is None
    with pytest.raises(ImageError, match="truncated"):
        crop.reference()


def test_pillow_agrees_too() -> None:
    data = file_of("420", (120, 170))
    pixels = Crop(data, Box(0, 0, 120, 170), (120, 170), planar=False).decoded()
    assert pixels is not None
    assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
