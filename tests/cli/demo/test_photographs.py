from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from stoker.cli.demo import photographs
from stoker.cli.demo.photographs import cut_crops, num_crops
from stoker.errors import DataError


@pytest.fixture
def few_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "CROPS_PER_PHOTOGRAPH", 3)


@pytest.mark.usefixtures("few_crops")
def test_crops_lie_in_two_class_folders(tmp_path: Path) -> None:
    paths = list(cut_crops(tmp_path))
    assert len(paths) == num_crops() == 6
    assert {path.parent.name for path in paths} == {"china", "flower"}
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert 240 <= min(image.size) <= max(image.size) <= 400


@pytest.mark.usefixtures("few_crops")
def test_crops_are_the_same_on_every_run(tmp_path: Path) -> None:
    first, again = list(cut_crops(tmp_path / "a")), list(cut_crops(tmp_path / "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_a_missing_scikit_learn_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"install stoker\[demo\], or name a folder of images") as caught:
        next(cut_crops(tmp_path))
    assert "\n" not in str(caught.value)
