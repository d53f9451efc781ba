"""How commands show themselves on a terminal: one console, one kind of progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False)


def progress_bar() -> Progress:
    """A bar for long work: what, how far, time left. It vanishes at the end; without a terminal there is none."""
    return Progress(
        TextColumn("   {task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
