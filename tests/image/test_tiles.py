"""Tiling loses nothing, a crop of tiles is a crop of the whole, and hostile bytes are refused or decoded, never worse."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stoker._native import extract_tiles
from stoker.errors import ArgumentError
from stoker.image import Box, EncodedImage, retile
from stoker.image.jpeg import read_jpeg_header
from tests.image.pictures import encoded, smooth

SUBSAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]
SIZES = [(1, 1), (8, 8), (15, 17), (16, 33), (67, 131), (121, 232)]


def noisy(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(height * width).integers(0, 90, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(smooth(height, width)) // 2 + noise)


def decoded(data: bytes) -> tuple[str, bytes]:
    image = Image.open(io.BytesIO(data))
    return image.mode, image.tobytes()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("subsampling", [*SUBSAMPLINGS, "grey"])
@pytest.mark.parametrize(
    "options",
    [{}, {"optimize": True}, {"progressive": True}, {"quality": 100}, {"quality": 3}, {"restart_marker_blocks": 3}],
    ids=str,
)
def test_tiling_loses_nothing(size: tuple[int, int], subsampling: str, options: dict[str, object]) -> None:
    image = noisy(*size).convert("L" if subsampling == "grey" else "RGB")
    data = encoded(image, "JPEG", **({} if subsampling == "grey" else {"subsampling": subsampling}), **options)
    for tile_mcus in (1, 4, 1000):
        tiled = retile(data, tile_mcus)
        assert tiled is not None
        assert decoded(tiled) == decoded(data)
        header = read_jpeg_header(tiled)
        assert header is not None
        assert header.is_tiled
        assert retile(tiled, tile_mcus) == tiled


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_real_photographs_lose_nothing(every: int, photos: Path) -> None:
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    assert len(files) == 700
    for path in files[::every]:
        data = path.read_bytes()
        tiled = retile(data)
        assert tiled is not None, path
        assert decoded(tiled) == decoded(data), path


def test_metadata_stays() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noisy(40, 60), "JPEG", exif=exif, comment=b"hello", icc_profile=b"profile" * 9)
    tiled = Image.open(io.BytesIO(retile(data) or b""))
    assert tiled.getexif()[0x0112] == 6
    assert tiled.info["comment"] == b"hello"
    assert tiled.info["icc_profile"] == b"profile" * 9


TILED = {
    name: (encoded(image, "JPEG", **options), retile(encoded(image, "JPEG", **options), 2) or b"")
    for name, image, options in [
        *((each, noisy(203, 317), {"subsampling": each}) for each in SUBSAMPLINGS),
        ("grey", noisy(90, 170).convert("L"), {}),
        ("progressive", noisy(129, 255), {"progressive": True}),
    ]
}


def draw_box(data: st.DataObject, size: tuple[int, int], least: int) -> Box:
    """A rectangle within `size`, of at least `least` pixels in height and width."""
    (top, height), (left, width) = (
        (start := data.draw(st.integers(0, side - least)), data.draw(st.integers(least, side - start))) for side in size
    )
    return Box(top, left, height, width)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(TILED)), st.data())
def test_a_crop_of_tiles_is_a_crop_of_the_whole(name: str, data: st.DataObject) -> None:
    plain, tiled = (EncodedImage(each) for each in TILED[name])
    box = draw_box(data, plain.size, least=1)
    pixels, reduction = tiled.decode_box(box, (box.height, box.width))
    assert reduction == 1
    assert np.array_equal(pixels, plain.decode()[box.top : box.bottom, box.left : box.left + box.width])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(TILED)), st.sampled_from([2, 4, 8]), st.data())
def test_a_reduced_crop_is_the_same_with_tiles_and_without(name: str, reduction: int, data: st.DataObject) -> None:
    plain, tiled = (EncodedImage(each) for each in TILED[name])
    box = draw_box(data, plain.size, least=16)
    wanted = (box.height // reduction, box.width // reduction)
    (ours, factor), (theirs, same) = tiled.decode_box(box, wanted), plain.decode_box(box, wanted)
    assert factor == same == reduction
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_colour_beside_a_tile_is_known_at_every_reduction(subsampling: str, reduction: int) -> None:
    """Boxes that begin a few pixels behind a tile's edge, or end before one."""
    plain, tiled = (EncodedImage(each) for each in TILED[subsampling])
    for start, length in itertools.product(range(60, 72), (24, 51, 57)):
        box = Box(start, start, length, length)
        wanted = (length // reduction, length // reduction)
        assert np.array_equal(tiled.decode_box(box, wanted)[0], plain.decode_box(box, wanted)[0]), box


def test_a_crop_takes_few_bytes() -> None:
    _, tiled = TILED["4:2:0"]
    extract = extract_tiles(tiled, 96, 128, 16, 16)
    assert extract is not None
    data, top, left = extract
    assert len(data) < len(tiled) / 4
    assert (top, left) == (80, 112 - 112 % 32)


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 0, 4), (0, 310, 4, 8), (200, 0, 4, 4), (0, 0, 2**31 - 1, 4)])
def test_a_rectangle_outside_of_the_picture_is_refused(box: tuple[int, int, int, int]) -> None:
    assert extract_tiles(TILED["4:2:0"][1], *box) is None


@pytest.mark.parametrize("kind", ["CMYK", "MPO", "PNG", "truncated", "empty"])
def test_what_cannot_be_tiled_stays_as_it_is(kind: str) -> None:
    whole = encoded(noisy(64, 64), "JPEG")
    data = {
        "MPO": encoded(noisy(64, 64), "MPO", save_all=True, append_images=[noisy(64, 48)]),
        "CMYK": encoded(noisy(64, 64).convert("CMYK"), "JPEG"),
        "PNG": encoded(noisy(9, 9), "PNG"),
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
    }
    assert retile(data[kind]) is None


def test_a_progressive_file_without_its_last_scans_stays_as_it_is() -> None:
    whole = encoded(noisy(64, 64), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    assert retile(whole) is not None
    assert retile(whole[:last] + b"\xff\xd9") is None


@pytest.mark.parametrize("tile_mcus", [0, -1, 65_536])
def test_a_tile_has_a_width(tile_mcus: int) -> None:
    with pytest.raises(ArgumentError, match=f"tile_mcus must be between 1 and 65,535; got {tile_mcus}"):
        retile(b"", tile_mcus)


SMALL = {
    name: encoded(noisy(24, 40), "JPEG", **options)
    for name, options in (("baseline", {}), ("progressive", {"progressive": True}))
}


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_changed_is_refused_or_a_jpeg(name: str) -> None:
    """No crash, and what comes out is a file that decodes."""
    for place in range(len(SMALL[name])):
        for value in (0x00, 0xFF, SMALL[name][place] ^ 0x10):
            damaged = bytearray(SMALL[name])
            damaged[place] = value
            tiled = retile(bytes(damaged), 1)
            if tiled is not None:
                extract = extract_tiles(tiled, 0, 0, 1, 1)
                assert extract is not None
                assert Image.open(io.BytesIO(extract[0])).load() is not None


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 300))
def test_hostile_bytes_are_refused_or_a_jpeg(noise: bytes, place: int, cut: int) -> None:
    for whole in SMALL.values():
        damaged = whole[:place] + noise + whole[place + cut :]
        retile(damaged, 1)
        extract_tiles(damaged, 0, 0, 3, 5)
