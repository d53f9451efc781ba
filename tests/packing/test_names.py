"""Names of exported files: kept where that is safe, and never a way out of the folder."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.packing.names import distinct_components, ending_for, image_format, safe_component, safe_path, stem_of

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    path = safe_path(name)
    assert not PurePosixPath(path).is_absolute()
    assert not {"", ".", ".."} & set(path.split("/")) or path == ""
    assert "\0" not in path
    os.fsencode(path)
    assert all(len(os.fsencode(part)) <= 200 for part in path.split("/"))
    assert safe_path(path) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("/etc/passwd", "etc/passwd"),
        ("../../x", "x"),
        ("a\\..\\b", "a_.._b"),
        ("..", ""),
        ("new\nline", "new_line"),
        ("caf\udce9.jpg", "caf\udce9.jpg"),
        ("half\ud800", "half?"),
    ],
)
def test_what_is_safe_in_a_name_is_kept(name: str, path: str) -> None:
    assert safe_path(name) == path


def test_names_that_are_too_long_stay_different() -> None:
    one, other = safe_component("a" * 300), safe_component("a" * 301)
    assert one != other
    assert len(one) == 200


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"\xff\xd8\xff\xe0", "jpg"), (b"\x89PNG\r\n", "png"), (b"GIF89a", "gif"), (b"BM..", "bmp"), (b"II*\0", "tif"),
        (b"RIFF....WEBPVP8 ", "webp"), (b"P6 1 1", "ppm"), (b"", "bin"), (b"RIFF....WAVE", "bin"),
    ],
)  # fmt: skip
def test_the_first_bytes_tell_the_format(data: bytes, format: str) -> None:
    assert image_format(data) == format


@pytest.mark.parametrize(
    ("name", "format", "stem", "ending"),
    [
        ("a/b.JPEG", "jpg", "a/b", ".JPEG"),
        ("a/b.png", "jpg", "a/b", ".jpg"),
        ("a/b.v1", "png", "a/b.v1", ".png"),
        (".jpg", "jpg", ".jpg", ".jpg"),
        ("b.jpg", "bin", "b", ".bin"),
    ],
)
def test_an_ending_is_kept_where_it_fits_the_format(name: str, format: str, stem: str, ending: str) -> None:
    assert (stem_of(name), ending_for(name, format)) == (stem, ending)


def test_different_names_stay_different() -> None:
    names = ["a/b", "a_b", "A_B", ".."]
    assert distinct_components(names) == {"a/b": "a_b", "a_b": "a_b~2", "A_B": "A_B", "..": "_"}
    assert distinct_components(names, folds_case=True)["A_B"] == "A_B~3"
