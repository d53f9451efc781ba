"""stoker verify, export and inspect: what they print of a store, and of what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stoker
from stoker.data import ImageFolder
from stoker.store.manifest import read_manifest
from tests.cli.stores import damage, make_images, make_store, run


class Rows:
    """Vectors of different lengths, and a text that would steer a terminal."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        return np.arange(index), "\x1b[31m[red]"


@pytest.mark.parametrize("command", [["verify"], ["inspect"], ["export"]])
def test_what_is_no_store_is_one_message(command: list[str], tmp_path: Path) -> None:
    code, output = run(*command, tmp_path, *([tmp_path / "out"] if command == ["export"] else []))
    assert code == 1
    assert "is no packed store: it has no manifest.json." in output
    assert run(*command, tmp_path / "nowhere", *(["x"] if command == ["export"] else []))[0] == 2


# verify


def test_a_whole_store_is_said_to_be_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    shards = read_manifest(str(store)).shards
    code, output = run("verify", store)
    assert code == 0
    assert output == f"{store} is whole: 1 shard, {shards[0].num_bytes:,} bytes\n"


def test_each_damage_is_printed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    damage(store)
    code, output = run("verify", store)
    assert code == 1
    assert output == stoker.verify(store)[0] + "\n"
    assert "(rows 0 to 3) does not match its checksum" in output


# export


def test_the_ending_decides_the_format(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert run("export", store, tmp_path / "out") == (0, f"{tmp_path / 'out'} is written\n")
    assert run("export", store, tmp_path / "out.tar") == (0, f"{tmp_path / 'out.tar'} is written\n")
    assert len(ImageFolder(tmp_path / "out")) == 4
    assert (tmp_path / "out.tar").is_file()


def test_options_of_an_export_arrive(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    code, output = run("export", store, tmp_path / "out", "--to", "tar", "--shard-bytes", "1000")
    assert (code, output) == (0, f"{tmp_path / 'out'} is written\n")
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_an_export_that_cannot_be_is_one_message(tmp_path: Path) -> None:
    code, output = run("export", make_store(tmp_path), tmp_path)
    assert code == 1
    assert "exists already; choose another place, or remove it." in output


# inspect


def test_a_store_is_described(tmp_path: Path) -> None:
    code, output = run("inspect", make_store(tmp_path))
    assert code == 0
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[0] == "store"
    assert "4 samples" in lines
    assert any(line.startswith("label scalar int64 8 bytes 8 bytes") for line in lines)
    assert "Shapes of image (height × width), in 4 rows" in lines
    assert "height: 30 to 33, median 31" in lines
    assert "Labels: 2 classes, in 4 rows" in lines
    assert any(line.startswith("cat 2 ━━") for line in lines)
    assert "type ImageFolder" in lines
    assert "1 row group of" in output


def test_what_was_left_out_is_listed(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 20)
    (tmp_path / "images" / "cat" / "zero.jpg").write_bytes(b"no image")
    stoker.pack(tmp_path / "images", tmp_path / "store", num_workers=0, on_error="skip")
    _, output = run("inspect", tmp_path / "store")
    assert "Left out: 1 sample\n   cat/zero.jpg: " in output


def test_arrays_are_described_and_text_does_not_steer_the_terminal(tmp_path: Path) -> None:
    stoker.pack(Rows(), tmp_path / "store", num_workers=0)
    code, output = run("inspect", tmp_path / "store")
    assert code == 0
    assert "Shapes of 0 (dimension 0), in 6 rows" in output
    assert "int64 […]" in output
    assert "\x1b" not in output


def test_the_sheet_shows_samples_spread_over_the_store(tmp_path: Path) -> None:
    code, output = run("inspect", make_store(tmp_path), "--sheet", tmp_path / "sheet.png")
    assert code == 0
    assert f"4 samples are drawn in {tmp_path / 'sheet.png'}" in output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 4 * 160


def test_a_store_of_pixels_with_variants_has_a_sheet(tmp_path: Path) -> None:
    stoker.pack(make_images(tmp_path / "images"), tmp_path / "store", num_workers=0, images="raw", augment=2)
    code, output = run("inspect", tmp_path / "store", "--sheet", tmp_path / "sheet.png")
    assert (code, "8 samples are drawn" in output, "4 samples in 8 rows: 2 variants of each" in output) == (
        0,
        True,
        True,
    )


def test_a_store_without_images_has_no_sheet(tmp_path: Path) -> None:
    stoker.pack(Rows(), tmp_path / "store", num_workers=0)
    code, output = run("inspect", tmp_path / "store", "--sheet", tmp_path / "sheet.png")
    assert code == 1
    assert "it holds 0 (ragged), 1 (string), and no images." in output
