from __future__ import annotations

from itertools import starmap
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stoker.cli import main
from stoker.cli.demo.story import Resumption, sparkline
from stoker.cli.demo.training import Step


def steps(*digests: str) -> list[Step]:
    return list(starmap(Step, [(digest, 0.0) for digest in digests]))


def test_a_resumption_is_exact_only_if_all_batches_come_again_in_their_places() -> None:
    expected = steps("a", "b", "c")
    assert Resumption(1, expected, steps("a", "b", "c")).is_exact
    assert not Resumption(1, expected, steps("a", "c", "b")).is_exact
    assert not Resumption(1, expected, steps("a", "b")).is_exact
    assert not Resumption(1, expected, steps("a", "b", "c", "d")).is_exact
    assert Resumption(1, expected, steps("a", "c", "b")).num_equal == 1


def test_a_sparkline_spans_lowest_to_highest() -> None:
    assert sparkline([1.0, 0.5, 0.0]) == "█▅▁"
    assert sparkline([2.0, 2.0]) == "▁▁"


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("light", 250)):
        (tmp_path / name).mkdir()
        for number in range(8):
            pixels = draw.integers(brightness - 50, brightness, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.jpg")
    return tmp_path


def run_demo(folder: Path) -> str:
    result = CliRunner().invoke(main, ["demo", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("no_leaks")
def test_the_demo_on_class_folders(small_folder: Path) -> None:
    output = run_demo(small_folder)
    assert "16 images; classes: dark, light" in output
    assert "naive loop" in output
    assert "DataLoader" in output
    assert "stoker.Loader" in output
    assert "6 of 6 remaining batches are the same, bit for bit" in output


def test_the_demo_on_a_flat_folder(small_folder: Path) -> None:
    output = run_demo(small_folder / "dark")
    assert "8 images; no class folders" in output
    assert "remaining batches are the same, bit for bit" in output
