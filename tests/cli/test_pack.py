"""stoker pack: its options, what it prints, and what it says when something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import stoker
from stoker.data.packed import Packed
from tests.cli.stores import make_images, run

MODULE = """
class Rows:
    def __len__(self): return 5
    def __getitem__(self, index): return {"number": index}
def rows(): return Rows()
def doubled(sample): return {"number": sample["number"] * 2}
def refuses_odd(sample):
    if sample["number"] % 2: raise ValueError("it is odd")
    return sample
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows_for_a_test.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "rows_for_a_test", raising=False)


def test_a_folder_is_packed_and_the_summary_is_printed(tmp_path: Path) -> None:
    code, output = run("pack", make_images(tmp_path / "images"), tmp_path / "store", "--workers", 0)
    assert code == 0
    assert "4 samples in 4 rows" in output
    assert "4 images tiled without loss" in output
    assert len(Packed(tmp_path / "store")) == 4


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def pack(source: Any, target: str, **options: Any) -> Any:
        given.update(options, source=source, target=target)
        return stoker.packing.pack.PackSummary("x", 1, 1, 1, 1, 1)

    _ = stoker.pack
    monkeypatch.setattr(stoker, "pack", pack)
    code, _ = run(
        "pack", "here", "there", "--images", "jpeg", "--max-side", 100, "--quality", 80, "--transform", "rows_for_a_test:doubled",
        "--augment", 3, "--on-error", "skip", "--shard-bytes", "1MiB", "--seed", 7, "--append", "--workers", 2,
    )  # fmt: skip
    assert code == 0
    assert given.pop("transform").__name__ == "doubled"
    assert callable(given.pop("progress"))
    assert given == {
        "source": "here", "target": "there", "images": "jpeg", "max_side": 100, "quality": 80, "augment": 3, "on_error": "skip",
        "shard_bytes": "1MiB", "seed": 7, "append": True, "num_workers": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["rows", "Rows"])
def test_a_dataset_in_python_is_packed_with_a_transform(name: str) -> None:
    code, output = run(
        "pack", f"rows_for_a_test:{name}", "store", "--transform", "rows_for_a_test:doubled", "--workers", 0
    )
    assert (code, "5 samples" in output) == (0, True)
    assert [sample["number"] for sample in Packed("store")] == [0, 2, 4, 6, 8]


def test_workers_import_what_was_named() -> None:
    code, output = run(
        "pack", "rows_for_a_test:rows", "store", "--transform", "rows_for_a_test:doubled", "--workers", 2
    )
    assert (code, "5 samples" in output) == (0, True)


def test_samples_that_were_left_out_are_named() -> None:
    code, output = run(
        "pack",
        "rows_for_a_test:rows",
        "store",
        "--transform",
        "rows_for_a_test:refuses_odd",
        "--on-error",
        "skip",
        "--workers",
        0,
    )
    assert code == 0
    assert "2 samples were left out" in output
    assert "1: ValueError: it is odd" in output


def test_a_sample_that_fails_is_one_message() -> None:
    code, output = run(
        "pack", "rows_for_a_test:rows", "store", "--transform", "rows_for_a_test:refuses_odd", "--workers", 0
    )
    assert code == 1
    assert output.splitlines()[-1] == "Error: cannot pack sample 1: ValueError: it is odd"
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere", "store"], "there is nothing at nowhere"),
        (["no_such_module:x", "store"], "there is no module 'no_such_module'"),
        (["rows_for_a_test:x", "store"], "rows_for_a_test has no attribute 'x'"),
        (["rows_for_a_test:rows", "store", "--transform", "rows_for_a_test"], "name an object as module:attribute"),
        (["rows_for_a_test:rows", "rows_for_a_test.py"], "rows_for_a_test.py exists already"),
        (
            ["rows_for_a_test:rows", "store", "--quality", "0"],
            "quality must be a whole number between 1 and 100; got 0",
        ),
    ],
)
def test_what_cannot_be_packed_is_one_message(arguments: list[str], text: str) -> None:
    code, output = run("pack", *arguments, "--workers", 0)
    assert code == 1
    assert text in output
    assert "Traceback" not in output


def test_a_number_of_workers_that_is_none_is_a_usage_error() -> None:
    code, output = run("pack", "a", "b", "--workers", "many")
    assert code == 2
    assert "must be a number or 'auto'; got 'many'" in output


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    _ = stoker.pack
    monkeypatch.setattr(stoker, "pack", interrupted)
    code, output = run("pack", "a", "b")
    assert code == 130
    assert "Run the same command again, and it goes on where it stopped." in output
