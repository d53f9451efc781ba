from __future__ import annotations

from pathlib import Path

import pytest
from images import GOALS, list_often, ours, peers


def test_each_goal_names_contenders() -> None:
    folder = Path("photographs")
    names = {entry.name for entry in (*ours(folder, folder, "process"), *peers(folder, folder))}
    assert {name for goal in GOALS for name in (goal.ours, goal.theirs)} <= names


def test_photographs_are_listed_as_often_as_it_takes(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list_often(tmp_path, tmp_path / "often", 4) == 6
    texts = [path.read_text() for path in sorted((tmp_path / "often").glob("*/*"))]
    assert texts == ["a/1.jpg", "a/2.jpg"] * 2 + ["b/1.jpg"] * 2


def test_a_folder_without_classes_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no photographs in folders"):
        list_often(tmp_path, tmp_path / "often", 4)
