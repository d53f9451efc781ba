"""``stoker export``: a store as files that other programs read."""

from __future__ import annotations

import click


@click.command()
@click.argument("store", metavar="STORE", type=click.Path(exists=True, file_okay=False))
@click.argument("target", metavar="DST", type=click.Path())
@click.option(
    "--to",
    type=click.Choice(["folder", "hdf5", "npy", "tar"]),
    help="By default what the ending of DST says, else a folder.",
)
@click.option("--shard-bytes", metavar="SIZE", help="Several tars of about this size ('1GiB') in the folder DST.")
def export(store: str, target: str, to: str | None, shard_bytes: str | None) -> None:
    """Write all samples of STORE as DST: folders of files, HDF5, NumPy arrays, or tars as WebDataset reads them."""
    import stoker
    from stoker.cli.screen import console, plain, progress_bar, shown_on

    with progress_bar("rows") as bar:
        place = stoker.export(store, target, to, shard_bytes=shard_bytes, progress=shown_on(bar, "exporting"))
    console.print(f"{plain(place)} is written", soft_wrap=True)
