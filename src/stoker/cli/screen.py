"""How commands show themselves on a terminal: one console, one kind of progress bar."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

console = Console(highlight=False)


class _Rate(ProgressColumn):
    """So many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self._unit}/s" if speed else "", style="progress.data.speed")


def progress_bar(unit: str | None = None) -> Progress:
    """A bar for long work: what, how far, time left; with a `unit` ("samples", "bytes") also how fast.

    It vanishes at the end; without a terminal there is none.
    """
    amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
    if unit == "bytes":
        amounts = (DownloadColumn(), TransferSpeedColumn())
    elif unit is not None:
        amounts = (MofNCompleteColumn(), _Rate(unit))
    return Progress(
        TextColumn("   {task.description}"),
        BarColumn(bar_width=32 if unit is None else 24),
        *amounts,
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def shown_on(bar: Progress, description: str) -> Callable[[int, int], None]:
    """A callback for (done, total) that moves a new task of `bar`. What was done before its first call is no speed."""
    task = bar.add_task(description, total=None)
    is_first = True

    def show(done: int, total: int) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            bar.reset(task, total=total, completed=done)
        else:
            bar.update(task, total=total, completed=done)

    return show


def plain(text: object) -> str:
    """Text from a file, for the console: neither markup nor anything that would steer a terminal."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)))


def counted(number: int, what: str, several: str | None = None) -> str:
    """A number and what it counts: "1 shard", "2 shards"."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"
