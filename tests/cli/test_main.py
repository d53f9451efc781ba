"""The command line's face: help, version, errors."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from click.testing import CliRunner

import stoker
from stoker.cli import main


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_help_lists_the_commands() -> None:
    code, output = run("--help")
    assert code == 0
    assert all(f"  {name} " in output for name in ("demo", "pack", "verify", "export", "inspect"))


def test_version_is_that_of_the_package() -> None:
    assert run("--version") == (0, f"stoker {version('stoker')}\n")
    assert version("stoker") == stoker.__version__


def test_what_stoker_raises_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    code, output = run("demo", str(tmp_path))
    assert code == 1
    assert output.splitlines()[-1].startswith("Error: ")
    assert str(tmp_path) in output.replace("\n", "")


def test_what_the_system_refuses_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    code, output = run("pack", str(tmp_path / "nothing"), str(tmp_path / "store"))
    assert code == 1
    assert output.splitlines()[-1] == f"Error: there is nothing at {tmp_path / 'nothing'}"


def test_a_folder_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    code, output = run("demo", str(tmp_path / "nothing"))
    assert code == 2
    assert "does not exist" in output
