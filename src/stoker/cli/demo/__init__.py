"""``stoker demo``: times three ways to load one folder, trains, stops in the middle of an epoch, and resumes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def demo(folder: Path | None) -> None:
    """See the main job happen, in under two minutes.

    Loads photographs with a naive loop, torch's DataLoader and stoker.Loader, and compares their speed; trains a small
    network; stops it in the middle of an epoch and resumes it in a new process, with the same batches to the last bit.

    DIR is a folder of your own images (class folders, or flat); without it, two photographs that come with scikit-learn
    are cut into a few hundred.
    """
    from stoker.cli.demo.story import tell

    tell(folder)
