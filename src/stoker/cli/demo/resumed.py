"""The new process that the demo resumes in: ``python -m stoker.cli.demo.resumed FOLDER NUM_WORKERS``.

Prints a line of JSON for each step that was left.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from stoker.cli.demo.training import Step, load_checkpoint, train
from stoker.errors import StokerError


def train_in_new_process(folder: Path, num_workers: int) -> Iterator[Step]:
    """Starts that process on a checkpoint's folder; yields its steps as they come.

    Raises:
        StokerError: it failed; with what it wrote.
    """
    command = [sys.executable, "-m", "stoker.cli.demo.resumed", str(folder), str(num_workers)]
    errors = folder / "errors.txt"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None  # for the type checker: it is a pipe
        for line in process.stdout:
            yield Step(**json.loads(line))
    if process.returncode:
        raise StokerError(f"the resumed process ended with status {process.returncode}:\n{errors.read_text()}")


def main() -> None:
    """Resumes and trains to the end."""
    folder, num_workers = Path(sys.argv[1]), int(sys.argv[2])
    recipe, learner, loader = load_checkpoint(folder, num_workers)
    for step in train(learner, loader, recipe.epochs):
        print(json.dumps(asdict(step)), flush=True)


if __name__ == "__main__":
    main()
