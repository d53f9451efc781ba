"""How does stoker compare in all of it? Runs every benchmark and ends with their ratios as a Markdown table.

    python benchmarks/table.py [FOLDER of photographs]

Ratios of two things that ran in turn, stoker to a peer, which is torch's DataLoader where no other is named; above 1
stoker is faster. Absolute figures of one machine are no result, and stand in each benchmark's own output.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.cli.demo.photographs import cut_crops

BENCHMARKS = ("images.py", "rows.py", "transport.py", "stragglers.py")
_RATIO = re.compile(r"^\s+ratio\s+(?P<ratio>[0-9.]+)(?P<unit>[^(]*)\((?P<goal>goal[^,)]*)")


@dataclass(frozen=True)
class Row:
    """One thing that was measured. `ratio` as the benchmark printed it, with its unit where it has one."""

    benchmark: str
    title: str
    ratio: str
    goal: str


def rows_of(benchmark: str, lines: Iterable[str]) -> Iterator[Row]:
    """Reads a benchmark's output: a title that begins a line, figures below it, indented, and the ratio last."""
    title = ""
    for line in lines:
        match = _RATIO.match(line)
        if match is not None:
            ratio = f"{match['ratio']} {match['unit'].strip()}".strip()
            yield Row(benchmark, title, ratio, match["goal"].removeprefix("goal").strip())
        elif line.strip() and not line[0].isspace():
            title = line.strip()


def run(benchmark: str, arguments: list[str]) -> Iterator[str]:
    """Runs a benchmark in a process of its own; yields its lines as they come, and shows them.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, str(Path(__file__).parent / benchmark), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None  # for the type checker: it is a pipe
        for line in process.stdout:
            print(line, end="", flush=True)
            yield line
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def markdown(rows: Iterable[Row]) -> str:
    lines = ["| benchmark | what | ratio | goal |", "|---|---|---:|---:|"]
    lines += [f"| `{row.benchmark}` | {row.title} | {row.ratio} | {row.goal} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="photographs; without it, crops of the two that scikit-learn brings")
    folder = parser.parse_args().folder
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as scratch:
        if folder is None:
            folder = scratch
            deque(cut_crops(Path(scratch)), maxlen=0)
        for benchmark in BENCHMARKS:
            print(f"\n== {benchmark}", flush=True)
            rows += rows_of(benchmark, run(benchmark, [folder] if benchmark == "images.py" else []))
    print(f"\n{markdown(rows)}")


if __name__ == "__main__":
    main()
