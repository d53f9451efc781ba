"""The native resize beside Pillow's and torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from stoker.image.resize import resize_and_flip
from tests.image.pictures import smooth

sides = st.integers(1, 70)


def resized(
    pixels: torch.Tensor, size: tuple[int, int], *, antialias: bool = True, h: bool = False, v: bool = False
) -> torch.Tensor:
    return resize_and_flip(pixels, size, antialias=antialias, horizontally=h, vertically=v)


def interleaved(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(smooth(height, width, seed)).permute(2, 0, 1)


@given(sides, sides, sides, sides)
def test_antialiased_as_pillow_within_one_level(height: int, width: int, new_height: int, new_width: int) -> None:
    ours = resized(interleaved(height, width), (new_height, new_width)).permute(1, 2, 0).numpy().astype(int)
    pillow = np.asarray(
        Image.fromarray(smooth(height, width)).resize((new_width, new_height), Image.Resampling.BILINEAR)
    )
    assert np.abs(ours - pillow).max() <= 1


@given(sides, sides, sides, sides)
def test_not_antialiased_as_torch_within_one_level(height: int, width: int, new_height: int, new_width: int) -> None:
    pixels = interleaved(height, width)
    ours = resized(pixels, (new_height, new_width), antialias=False).int()
    theirs = functional.interpolate(
        pixels[None].float(), (new_height, new_width), mode="bilinear", align_corners=False
    )[0]
    assert (ours - theirs).abs().max() <= 1


@given(sides, sides, sides, sides, st.booleans(), st.booleans())
def test_flips_are_exact(height: int, width: int, new_height: int, new_width: int, h: bool, v: bool) -> None:
    pixels = interleaved(height, width)
    plain = resized(pixels, (new_height, new_width))
    dims = [dim for dim, wanted in ((-2, v), (-1, h)) if wanted]
    assert torch.equal(resized(pixels, (new_height, new_width), h=h, v=v), plain.flip(dims) if dims else plain)


@given(sides, sides, st.integers(0, 255))
def test_flat_areas_keep_their_level(height: int, width: int, level: int) -> None:
    pixels = torch.full((3, height, width), level, dtype=torch.uint8)
    assert (resized(pixels, (23, 31)) == level).all()


@given(sides, sides)
def test_memory_formats_do_not_matter(height: int, width: int) -> None:
    pixels = interleaved(height, width)
    padded = torch.zeros(3, height + 3, width + 5, dtype=torch.uint8)
    padded[:, 2 : 2 + height, 1 : 1 + width] = pixels
    for other in (
        pixels.contiguous(),
        padded[:, 2 : 2 + height, 1 : 1 + width],
        padded.permute(1, 2, 0).contiguous().permute(2, 0, 1)[:, 2 : 2 + height, 1 : 1 + width],
    ):
        assert torch.equal(resized(other, (20, 20)), resized(pixels, (20, 20)))


def test_the_identity_is_exact() -> None:
    pixels = interleaved(37, 53)
    assert torch.equal(resized(pixels, (37, 53), h=True).flip(-1), pixels)
    assert resized(pixels, (37, 53)) is pixels


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_go_through_torch(channels: int) -> None:
    pixels = torch.arange(channels * 400, dtype=torch.uint8).reshape(channels, 20, 20)
    assert resized(pixels, (7, 9), h=True).shape == (channels, 7, 9)
    assert resized(pixels.float(), (7, 9)).dtype is torch.float32
