"""Runs a script of phases, and compares what was trained on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.phases import EPOCHS, LENGTH, Kill

PROJECT = Path(__file__).resolve().parents[2]


QUICK_AND_ALL = pytest.mark.parametrize(
    "quick", [["quick"], pytest.param([], marks=pytest.mark.slow)], ids=["quick", "all"]
)
"""For tests of `kills[:1]` that are quick enough for every day, and of all the others."""


def run_module(name: str, *arguments: str | Path) -> str:
    """Runs ``python -m name`` in the project's root; returns what it printed."""
    paths = [str(PROJECT), str(PROJECT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its phases and ranks too
        out, errors = process.communicate()
    assert process.returncode == 0, f"{process.returncode}\n{out[-2000:]}{errors[-4000:]}"
    return out


def assert_goes_on(folder: Path, kills: Sequence[Kill], ranks: int = 1) -> None:
    """Every resumed run has exactly the batches, ids and random draws, that the undisturbed one has from the checkpoint on."""
    undisturbed = [batches(folder / "undisturbed", rank) for rank in range(ranks)]
    rows = [row for run in undisturbed for batch in run for row in batch]
    assert sorted(id_ for id_, _ in rows) == sorted(float(i) for i in range(LENGTH) for _ in range(EPOCHS))
    for number, kill in enumerate(kills):
        for rank in range(ranks):
            killed, resumed = (batches(folder / f"{phase}{number}", rank) for phase in ("killed", "resumed"))
            assert killed[: kill.at] == undisturbed[rank][: kill.at], f"{kill}, rank {rank}"
            assert resumed == undisturbed[rank][kill.resumes_at :], f"{kill}, rank {rank}"


def batches(notes: Path, rank: int) -> list[list[Any]]:
    """What a phase noted."""
    return [json.loads(line) for line in notes.with_suffix(f".{rank}").read_text(encoding="utf-8").splitlines()]
