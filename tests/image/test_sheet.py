"""Contact sheets: what is drawn where, and what can be drawn at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.sheet import as_picture, contact_sheet, save_sheet

RED = np.full((40, 80, 3), (200, 30, 30), np.uint8)


def test_pictures_stand_in_rows_each_whole_in_the_middle_of_its_square() -> None:
    sheet = contact_sheet([RED] * 5, list("abcde"), columns=3, tile=40)
    one = contact_sheet([RED], ["a"], columns=3, tile=40)
    assert sheet.width > 3 * 40 > one.width  # a single one makes a narrow sheet
    assert sheet.height > 2 * 40
    found = np.array(one)
    rows, columns = np.nonzero((found == (200, 30, 30)).all(axis=2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 40)  # twice as wide as high, as it was
    assert rows.min() == columns.min() + 10  # the rest of the square is above and below it


def test_every_picture_has_its_caption_below() -> None:
    without, with_one = (np.array(contact_sheet([RED], [text], tile=64)) for text in ("", "cat"))
    changed = np.nonzero((without != with_one).any(axis=2))[0]
    assert len(changed)
    assert changed.min() > 64


def test_a_long_caption_does_not_reach_into_the_next_square() -> None:
    sheet = np.array(contact_sheet([RED, RED], ["a very long name of a class indeed " * 9, ""], tile=64))
    empty = np.array(contact_sheet([RED, RED], ["", ""], tile=64))
    changed = np.nonzero((sheet != empty).any(axis=2))[1]
    assert changed.max() < 4 + 64 + 4


def test_captions_on_several_lines_are_one_line() -> None:
    one, other = (contact_sheet([RED], [text]) for text in ("a b", "a\nb\x1b"))
    assert one.tobytes() == other.tobytes()


def test_a_tiny_picture_is_enlarged_with_its_pixels_visible() -> None:
    checks = np.array([[0, 255], [255, 0]], np.uint8)
    found = np.array(contact_sheet([checks], [""], tile=20).convert("L"))[4:24, 4:24]
    assert set(np.unique(found)) == {0, 255}


@pytest.mark.parametrize(
    "image",
    [
        RED,
        RED.transpose(2, 0, 1),
        torch.from_numpy(RED),
        torch.from_numpy(RED).permute(2, 0, 1),
        Image.fromarray(RED),
        torch.from_numpy(RED).permute(2, 0, 1) / 255,
        torch.from_numpy(RED).double() / 255,
    ],
    ids=["hwc", "chw", "tensor hwc", "tensor chw", "PIL", "float chw", "double hwc"],
)
def test_whatever_holds_the_picture_the_picture_is_the_same(image: Any) -> None:
    assert np.array_equal(np.array(as_picture(image)), RED)


def test_normalised_floats_are_stretched_from_black_to_white() -> None:
    values = torch.linspace(-2.1, 2.6, 12).reshape(1, 3, 4)
    found = np.array(as_picture(values))
    assert (found.min(), found.max()) == (0, 255)
    assert found[0, 0, 0] == 0


@pytest.mark.parametrize(
    "value", [torch.full((3, 4, 4), 7.0), torch.full((3, 4, 4), float("nan")), torch.ones(4, 4) > 0]
)
def test_flat_broken_and_true_false_pictures_can_be_drawn(value: torch.Tensor) -> None:
    assert as_picture(value).size == (4, 4)


def test_bfloat16_and_four_channels_can_be_drawn() -> None:
    assert as_picture(torch.rand(4, 5, 6).bfloat16()).size == (6, 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(2, 9, 9), r"1, 3 or 4 channels, first or last; got Tensor of shape \(2, 9, 9\)"),
        (torch.zeros(4), r"of 2 or 3 dimensions; got Tensor of shape \(4,\)"),
        ("cat", "got <class 'str'>"),
    ],
)
def test_what_is_no_picture_is_told(value: Any, text: str) -> None:
    with pytest.raises(TypeMismatchError, match=text):
        as_picture(value)


def test_arguments_that_make_no_sheet_are_told() -> None:
    with pytest.raises(ArgumentError, match="a caption for each; got 1 and 2"):
        contact_sheet([RED], ["a", "b"])
    with pytest.raises(ArgumentError, match="got 0 and 0"):
        contact_sheet([], [])
    with pytest.raises(ArgumentError, match="got columns=0, tile=160"):
        contact_sheet([RED], ["a"], columns=0)


def test_a_sheet_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    save_sheet(contact_sheet([RED], ["a"]), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "JPEG"
    with pytest.raises(ArgumentError, match=r"name it .png, .jpg or .webp; got '.*a.txt'"):
        save_sheet(contact_sheet([RED], ["a"]), tmp_path / "a.txt")
