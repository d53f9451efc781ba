"""Contenders in processes and environments of their own, so that peers of conflicting requirements run in one comparison."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from compare import Contender, Turn, tree_bytes, tree_cpu_s

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "peers"


def python_of(environment: str) -> Path:
    """The Python of a peer's environment, or of this one where it has none (""). It need not exist."""
    return ENVIRONMENTS / environment / "bin" / "python" if environment else Path(sys.executable)


def how_to_make(environment: str) -> str:
    """The command that makes a peer's environment, to be given in the project's root."""
    folder = (ENVIRONMENTS / environment).relative_to(ROOT)
    requirements = f"benchmarks/requirements-{environment}.txt"
    return f"python -m venv {folder} && {folder}/bin/pip install --no-deps -r {requirements}"


@dataclass
class Process(Contender):
    """Runs `peers/MODULE.py` with `arguments` by the Python of `environment`. Its epoch counts from the start.

    With `prepares_ahead` an epoch runs before each that counts: a loader that begins the next epoch while nobody asks for
    it would else get that work for nothing. Its output stands in `log`.

    Raises:
        RuntimeError: the process has ended, or has made another number of batches; with the last lines of its log.
    """

    module: str
    log: Path
    arguments: Sequence[str] = ()
    environment: str = ""
    prepares_ahead: bool = False
    idle_cpu_s: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Returns once all is made that an epoch needs."""
        command = [str(python_of(self.environment)), "-m", f"peers.{self.module}", *self.arguments]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[1],  # where Python finds `peers`
            )
        self._tree = psutil.Process(self._process.pid)
        self._answer()
        self._cpu_at_rest = self._rest()

    def take_turn(self) -> Turn:
        before = tree_cpu_s(self._tree)
        self.idle_cpu_s += before - self._cpu_at_rest
        self._ask("epoch\n" * (1 + self.prepares_ahead))  # at once: no time between them to prepare anything in
        if self.prepares_ahead:
            self._answer()
            before = tree_cpu_s(self._tree)
        figures = self._answer()
        cpu_s = tree_cpu_s(self._tree) - before
        if figures["batches"] != self.batches:
            self._fail(f"made {figures['batches']} batches instead of {self.batches}")
        peak_bytes = tree_bytes(self._tree)
        self._cpu_at_rest = self._rest()
        return Turn(self.batches / figures["seconds"], figures["first_s"], cpu_s, peak_bytes)

    def stop(self) -> None:
        """Ends the process, which may also have ended by itself."""
        self._process.communicate(timeout=60)

    def _rest(self, limit_s: float = 5) -> float:
        """Waits until nothing runs any more that the others would have to share a core with; returns the CPU time so far."""
        deadline = time.monotonic() + limit_s
        used = tree_cpu_s(self._tree)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            before, used = used, tree_cpu_s(self._tree)
            if used - before < 0.02:  # a clock tick is 0.01
                break
        return used

    def _ask(self, lines: str) -> None:
        assert self._process.stdin is not None  # for the type checker: it is a pipe
        try:
            self._process.stdin.write(lines)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail("has ended")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # as above
        line = self._process.stdout.readline()
        if not line:
            self._fail("has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _fail(self, what: str) -> None:
        lines = self.log.read_text(errors="replace").splitlines()
        raise RuntimeError("\n".join([f"{self.name} {what}. The last that it wrote:", *lines[-15:]]))
