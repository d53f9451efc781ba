"""The demo's four chapters, told on the terminal as they happen, and the table at the end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table

import stoker
from stoker.cli.demo.contenders import SIZE, Contender, contenders, race
from stoker.cli.demo.photographs import cut_crops, num_crops
from stoker.cli.demo.resumed import train_in_new_process
from stoker.cli.demo.training import Learner, Recipe, Step, save_checkpoint, train
from stoker.cli.screen import console, progress_bar
from stoker.engine.budget import cpu_budget

_MAX_IMAGES = 400
_MAX_WORKERS = 8
_BATCH_SIZE = 32
_ROUNDS = 3
_EPOCHS = 3
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Resumption:
    """What came after the stop, in the run that was not stopped and in the one that went on in a new process."""

    stopped_after: int
    expected: Sequence[Step]
    resumed: Sequence[Step]

    @property
    def num_equal(self) -> int:
        """Batches with the same hash at the same place."""
        return sum(ours.digest == theirs.digest for ours, theirs in zip(self.resumed, self.expected, strict=False))

    @property
    def is_exact(self) -> bool:
        """Every batch came again, in its place, and no other."""
        return len(self.resumed) == len(self.expected) == self.num_equal


def tell(folder: Path | None) -> None:
    """Runs the demo on `folder`, or on crops of scikit-learn's photographs.

    Raises:
        StokerError: the folder cannot be used, or a resumed batch differs.
    """
    num_workers = min(cpu_budget(), _MAX_WORKERS)
    console.print(f"[bold]Stoker {stoker.__version__}[/] · {num_workers} workers · torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="stoker-demo-") as scratch:
        _chapter("Photographs")
        recipe = _look_at(folder or _cut(Path(scratch) / "photographs"), learn_labels=folder is None)
        runners = _race(recipe, num_workers)
        steps = _train(recipe, num_workers)
        resumption = _stop_and_resume(recipe, steps, num_workers, Path(scratch))
    _summarise(runners, steps, resumption)
    if not resumption.is_exact:
        raise stoker.StokerError("the resumed run saw other batches than the uninterrupted one; please report this.")


def _chapter(title: str) -> None:
    console.print(f"\n[bold]{title}[/]")


def _cut(root: Path) -> Path:
    with progress_bar() as bar:
        for _ in bar.track(cut_crops(root), total=num_crops(), description="cutting crops"):
            pass
    console.print(f"   {num_crops()} JPEG crops cut from the two photographs that scikit-learn brings")
    return root


def _look_at(folder: Path, *, learn_labels: bool) -> Recipe:
    images: Any = stoker.open(str(folder))
    num_images = min(len(images), _MAX_IMAGES)
    batch_size = max(1, min(_BATCH_SIZE, num_images // 4))
    classes = getattr(images, "classes", [])
    described = (
        f"classes: {', '.join(classes[:4])}{' …' if len(classes) > 4 else ''}" if classes else "no class folders"
    )
    taken = "" if num_images == len(images) else f", of which {num_images} are taken"
    console.print(f"   {len(images):,} image{'s' * (len(images) != 1)}{taken}; {escape(described)}")
    return Recipe(str(folder), num_images, batch_size, _EPOCHS, num_classes=len(classes) if learn_labels else 0)


def _race(recipe: Recipe, num_workers: int) -> Sequence[Contender]:
    _chapter("Loading them in three ways")
    images: Any = recipe.images()
    paths = [images.sample_path(index) for index in range(len(images))]
    runners = contenders(images, paths, recipe.batch_size, num_workers)
    with progress_bar() as bar:
        task = bar.add_task("", total=_ROUNDS * len(runners))
        for number, contender in enumerate(race(runners, _ROUNDS)):
            bar.update(task, completed=number, description=f"{contender.name:<28}")
    for contender in runners:
        console.print(f"   {contender.name:<28}{contender.median:>9,.0f} images/s")
    console.print(
        f"   [dim]random crop to {SIZE}, flip, batches of {recipe.batch_size}; in turn, median of {_ROUNDS}[/]"
    )
    return runners


def _train(recipe: Recipe, num_workers: int) -> Sequence[Step]:
    _chapter(
        f"Training a small network to tell {'the classes' if recipe.num_classes else 'the average colour of an image'}"
    )
    loader, learner = recipe.loader(num_workers), Learner(recipe.num_classes)
    steps: list[Step] = []
    with progress_bar() as bar:
        task = bar.add_task("training", total=len(loader) * recipe.epochs)
        for step in train(learner, loader, recipe.epochs):
            steps.append(step)
            bar.update(task, advance=1, description=f"loss {step.loss:.3f}")
    losses = [step.loss for step in steps]
    console.print(f"   {len(steps)} steps in {recipe.epochs} epochs; loss {losses[0]:.3f} → {losses[-1]:.3f}")
    console.print(f"   {sparkline(losses)}")
    return steps


def _stop_and_resume(recipe: Recipe, steps: Sequence[Step], num_workers: int, scratch: Path) -> Resumption:
    _chapter("Stopping in the middle of an epoch, resuming in a new process")
    steps_per_epoch = len(steps) // recipe.epochs
    stop = steps_per_epoch + max(1, steps_per_epoch // 2)
    _train_until(stop, recipe, num_workers, scratch)
    workers_then = num_workers + 1 if num_workers == 1 else num_workers - 1
    resumed: list[Step] = []
    with progress_bar() as bar:
        task = bar.add_task("new process", total=len(steps) - stop)
        for step in train_in_new_process(scratch, workers_then):
            resumed.append(step)
            bar.update(task, advance=1)
    resumption = Resumption(stop, steps[stop:], resumed)
    console.print(f"   resumed with {workers_then} instead of {num_workers} workers; the first batches after the stop:")
    console.print(_hash_table(resumption))
    return resumption


def _train_until(stop: int, recipe: Recipe, num_workers: int, scratch: Path) -> None:
    loader, learner = recipe.loader(num_workers), Learner(recipe.num_classes)
    for _ in islice(train(learner, loader, recipe.epochs), stop):
        pass
    state = save_checkpoint(scratch, recipe, learner, loader)
    where = json.loads(state.read_text(encoding="utf-8"))
    console.print(
        f"   stopped after step {stop}: {where['samples']} of {recipe.num_images} images of epoch {where['epoch'] + 1} were seen\n"
        f"   the state file has {state.stat().st_size} bytes"
    )


def _hash_table(resumption: Resumption) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3))
    for heading in ("   step", "uninterrupted", "resumed", ""):
        table.add_column(heading)
    pairs = zip(resumption.expected, resumption.resumed, strict=False)
    for number, (ours, theirs) in enumerate(islice(pairs, 4), resumption.stopped_after + 1):
        verdict = "[green]equal[/]" if ours.digest == theirs.digest else "[red]DIFFERENT[/]"
        table.add_row(f"   {number}", ours.digest, theirs.digest, verdict)
    return table


def _summarise(runners: Sequence[Contender], steps: Sequence[Step], resumption: Resumption) -> None:
    naive, theirs, ours = runners
    table = Table(show_header=False)
    table.add_row(
        "speed", f"{ours.median / theirs.median:.1f} × DataLoader, {ours.median / naive.median:.1f} × the naive loop"
    )
    table.add_row("training", f"loss {steps[0].loss:.3f} → {steps[-1].loss:.3f} in {len(steps)} steps")
    colour, num_left = "green" if resumption.is_exact else "red", len(resumption.expected)
    table.add_row(
        "resume",
        f"[{colour}]{resumption.num_equal} of {num_left} remaining batches are the same, bit for bit[/]",
    )
    console.print()
    console.print(table)


def sparkline(values: Sequence[float]) -> str:
    """The values as a row of bars; the lowest is the smallest bar."""
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low or 1.0)
    return "".join(_BARS[round((value - low) * scale)] for value in values)
