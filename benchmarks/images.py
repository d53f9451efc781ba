"""How fast do photographs reach the loop? stoker beside torch's DataLoader, tf.data, DALI and FFCV.

    python benchmarks/images.py FOLDER

FOLDER has a folder for each class. RandomResizedCrop(224) and RandomHorizontalFlip to uint8 batches of 64, two workers
or threads each, all read from the page cache. Each contender is a process of its own; they take turns, a whole epoch
each, in which the photographs are listed as often as it takes to come to `--least`. A contender has its turn when no
other one works; what a loader prepares ahead is not counted in its favour.

What is compared is said with each ratio: resizing is antialiased in torch and in stoker unless it says "plain", averages
areas in FFCV, and takes neither into account in tf.data and DALI. FFCV's files and stoker's stores are written first,
from the same photographs.

Peers live in environments of their own, made by hand; one that is not there is left out:

    python -m venv build/peers/tf && build/peers/tf/bin/pip install --no-deps -r benchmarks/requirements-tf.txt
    python -m venv build/peers/dali && build/peers/dali/bin/pip install --no-deps -r benchmarks/requirements-dali.txt
    apt-get install libopencv-dev libturbojpeg0-dev pkg-config
    python -m venv build/peers/ffcv && build/peers/ffcv/bin/pip install --no-deps -r benchmarks/requirements-ffcv.txt
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from compare import alternate, judge, report, single_threaded
from peers.launch import Process, how_to_make, python_of

import stoker

BATCH, WORKERS = 64, 2


@dataclass(frozen=True)
class Entry:
    """A contender: what is started, and where. Several processes of one count as the fastest of them."""

    name: str
    module: str
    path: Path
    arguments: tuple[str, ...] = ()
    environment: str = ""
    processes: int = 1

    def contenders(self, scratch: Path, batches: int) -> list[Process]:
        return [
            Process(
                self.name if self.processes == 1 else f"{self.name}, process {number + 1}",
                batches,
                module=self.module,
                log=scratch / f"{self.name}-{number}.log".replace("/", " "),
                arguments=(str(self.path), str(BATCH), str(WORKERS), *self.arguments),
                environment=self.environment,
                prepares_ahead=self.module == "stoker",
            )
            for number in range(self.processes)
        ]


@dataclass(frozen=True)
class Goal:
    """What is to be shown: the ratio of two entries, by their names."""

    ours: str
    theirs: str
    ratio: float


GOALS = (
    Goal("stoker, folder", "torch", 1.7),
    Goal("stoker, store", "torch", 2.6),
    Goal("stoker, store, plain", "tf.data", 1.6),
    Goal("stoker, store, plain", "DALI", 2.0),
    Goal("stoker, store, side 500 q90", "FFCV, side 500 q90", 1.6),
    Goal("stoker, store, raw side 256", "FFCV, raw side 256", 1.2),
)


def peers(folder: Path, scratch: Path) -> list[Entry]:
    """tf.data is two processes: its rate has two modes, which a process keeps, and the better one counts."""
    jpeg, raw = (str(scratch / "q90.beton"), "jpg", "500"), (str(scratch / "raw.beton"), "raw", "256")
    return [
        Entry("torch", "torch", folder),
        Entry("tf.data", "tf", folder, environment="tf", processes=2),
        Entry("DALI", "dali", folder, environment="dali"),
        Entry("FFCV, side 500 q90", "ffcv", folder, jpeg, "ffcv"),
        Entry("FFCV, raw side 256", "ffcv", folder, raw, "ffcv"),
    ]


def ours(folder: Path, scratch: Path, executor: str) -> list[Entry]:
    options = ("--executor", executor)
    return [
        Entry("stoker, folder", "stoker", folder, options),
        Entry("stoker, store", "stoker", scratch / "keep.stoker", options),
        Entry("stoker, store, plain", "stoker", scratch / "keep.stoker", (*options, "--plain")),
        Entry("stoker, store, side 500 q90", "stoker", scratch / "q90.stoker", options),
        Entry("stoker, store, side 256 q90", "stoker", scratch / "small.stoker", options),
        Entry("stoker, store, raw side 256", "stoker", scratch / "raw.stoker", options),
    ]


def pack(folder: Path, scratch: Path) -> None:
    """Stores as their entries in `ours` need them."""
    stoker.pack(folder, scratch / "keep.stoker")  # lossless, in tiles
    stoker.pack(folder, scratch / "q90.stoker", max_side=500, quality=90, images="jpeg")
    stoker.pack(folder, scratch / "small.stoker", max_side=256, quality=90, images="jpeg")
    stoker.pack(folder, scratch / "raw.stoker", max_side=256, images="raw")


def list_often(folder: Path, target: Path, least: int) -> int:
    """Makes a folder of links to the photographs, to each as often as it takes to come to `least`; returns how many.

    A few hundred photographs make an epoch of a tenth of a second, of which its start would be the greater part.
    """
    photographs = sorted(path for path in folder.glob("*/*") if path.is_file())
    if not photographs:
        raise SystemExit(f"{folder} has no photographs in folders, one for each class")
    times = -(-least // len(photographs))
    for time, path in product(range(times), photographs):
        link = target / path.parent.name / f"{time:04d}-{path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return times * len(photographs)


def installed(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Those whose environment exists; says of each other one how to make it."""
    missing = {entry.environment for entry in entries if not python_of(entry.environment).exists()}
    for environment in sorted(missing):
        print(f"  left out: {environment}; to have it: {how_to_make(environment)}")
    return (entry for entry in entries if entry.environment not in missing)


def judge_all(contenders: dict[str, list[Process]]) -> None:
    """Prints each goal of which both sides have run."""
    for goal in GOALS:
        if goal.ours in contenders and goal.theirs in contenders:
            print(f"{goal.ours}; beside {goal.theirs}")
            first, second = (max(contenders[name], key=lambda one: one.rate) for name in (goal.ours, goal.theirs))
            judge(first, second, goal.ratio)


def measure(entries: Sequence[Entry], scratch: Path, batches: int, rounds: int) -> dict[str, list[Process]]:
    contenders = {entry.name: entry.contenders(scratch, batches) for entry in entries}
    everyone = [process for processes in contenders.values() for process in processes]
    with ExitStack() as stack:
        for process in everyone:
            process.start()
            stack.callback(process.stop)
        alternate(everyone, rounds)
    report(everyone, BATCH)
    for process in everyone:
        if process.idle_cpu_s > 0.1:
            print(f"  {process.name} used {process.idle_cpu_s:.1f} s of CPU time while others had their turn")
    return contenders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--executor", default="process", choices=["process", "thread"])
    parser.add_argument("--least", type=int, default=2560, help="photographs of an epoch")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders, by the beginnings of their names")
    arguments = parser.parse_args()
    single_threaded()
    with tempfile.TemporaryDirectory(prefix="stoker-images-") as name:
        scratch = Path(name)
        folder = scratch / "photographs"
        batches = list_often(arguments.folder, folder, arguments.least) // BATCH
        print(f"photographs to uint8 224 × 224, {WORKERS} workers each, {batches} batches of {BATCH} a round")
        entries = [*peers(folder, scratch), *ours(folder, scratch, arguments.executor)]
        if arguments.only:
            entries = [entry for entry in entries if entry.name.startswith(tuple(arguments.only))]
        if any("store" in entry.name for entry in entries):
            pack(folder, scratch)
        judge_all(measure(list(installed(entries)), scratch, batches, arguments.rounds))


if __name__ == "__main__":
    main()
