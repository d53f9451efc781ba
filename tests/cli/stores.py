"""A small store for the commands' tests, and how a command is run."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

import stoker
from stoker.cli import main
from tests.image.pictures import jpeg, smooth


def run(*arguments: object) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def make_images(root: Path, count: int = 4) -> Path:
    """Images of two classes, half of them each."""
    for number in range(count):
        path = root / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(smooth(30 + number, 40, seed=number)))
    return root


def make_store(root: Path) -> Path:
    stoker.pack(make_images(root / "images"), root / "store", num_workers=0)
    return root / "store"


def damage(store: Path) -> None:
    """Changes a bit in the middle of the first shard."""
    shard = store / "data" / "00000.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
