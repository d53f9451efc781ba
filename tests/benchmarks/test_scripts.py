"""Every benchmark can be imported and says how to use it. What it measures is no matter for a test."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted([*FOLDER.glob("*.py"), *FOLDER.glob("peers/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def test_it_imports_and_has_a_docstring(script: Path) -> None:
    module = importlib.import_module(".".join(script.relative_to(FOLDER).with_suffix("").parts))
    assert Path(str(module.__file__)) == script, "another module of this name stands in its way"
    assert module.__doc__
