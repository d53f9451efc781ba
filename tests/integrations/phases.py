"""Runs that are killed: each phase of a script is a process of its own, forked after the slow imports.

A test runs a script of this folder as ``python -m tests.integrations.NAME FOLDER``. It hands its `train` function to `main`,
which forks a process for each phase: a run that nothing disturbs; then, for each `Kill`, one that is killed by SIGKILL
and one that resumes. Each notes the samples that it trains on, and the test compares the notes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from torchvision_shim import import_torchvision

import_torchvision()  # before anything that is tested imports it

LENGTH, BATCH_SIZE, EPOCHS = 42, 4, 2  # the last batch is short


class Ids(Dataset[dict[str, torch.Tensor]]):
    """Sample i holds i, and a draw from torch's generator, as an augmentation makes it."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"ids": torch.tensor(float(index)), "noise": torch.rand(())}


@dataclass(frozen=True)
class Kill:
    """A checkpoint after every `every` batches, or steps; death before batch `at`; the last checkpoint has `resumes_at` batches behind it.

    Batches are counted from 0 over all epochs.
    """

    every: int
    at: int
    resumes_at: int


MID_EPOCH, SECOND_EPOCH, EPOCH_END = Kill(3, 8, 6), Kill(4, 19, 16), Kill(11, 13, 11)


@dataclass(frozen=True)
class Run:
    """One phase: where checkpoints and notes go, when it dies, whether it resumes."""

    folder: Path
    notes: Path
    every: int
    dies_at: int | None = None
    resumes: bool = False

    def note(self, number: int, batch: dict[str, torch.Tensor], rank: int = 0) -> None:
        """Batch `number` of the phase is trained on now; ends the process where it is to die. The file survives that."""
        if number == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = torch.stack([batch["ids"], batch["noise"]], 1).tolist()
        with self.notes.with_suffix(f".{rank}").open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows) + "\n")


def main(train: Callable[[Run], Any], kills: Sequence[Kill]) -> None:
    """The phases, in the folder that the command line names; fails unless exactly those die that should.

    With "quick" in the command line too, the first of `kills` alone.
    """
    warnings.simplefilter("ignore")
    kills = kills[:1] if "quick" in sys.argv else kills
    folder = Path(sys.argv[1])
    _phase(train, Run(folder / "checkpoints", folder / "undisturbed", every=100))
    for number, kill in enumerate(kills):
        where = folder / f"checkpoints{number}"
        _phase(train, Run(where, folder / f"killed{number}", kill.every, dies_at=kill.at))
        _phase(train, Run(where, folder / f"resumed{number}", kill.every, resumes=True))


def _phase(train: Callable[[Run], Any], run: Run) -> None:
    process = os.fork()
    if process == 0:
        try:
            torch.manual_seed(os.getpid())  # nothing may rest on the processes' having the same random state
            train(run)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if (code != 0) != (run.dies_at is not None):
        sys.exit(f"{run} ended with {code}")


FORKED_WORKER: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": "fork"}
"""For loaders: a worker that runs ahead of the loop, and is there at once."""
