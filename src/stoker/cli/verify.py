"""``stoker verify``: every byte of a store against its checksums."""

from __future__ import annotations

import click


@click.command()
@click.argument("store", metavar="STORE", type=click.Path(exists=True, file_okay=False))
def verify(store: str) -> None:
    """Read all of STORE and compare it with its checksums; name what is damaged, with file, offset and rows."""
    import stoker
    from stoker.cli.screen import console, counted, plain, progress_bar, shown_on
    from stoker.packing.rows import open_reader

    shards = open_reader(store).manifest.shards
    with progress_bar("bytes") as bar:
        damages = stoker.verify(store, progress=shown_on(bar, "verifying"))
    for damage in damages:
        console.print(plain(damage), soft_wrap=True)
    if damages:
        raise click.exceptions.Exit(1)
    num_bytes = sum(shard.num_bytes for shard in shards)
    console.print(
        f"{plain(store)} is whole: {counted(len(shards), 'shard')}, {counted(num_bytes, 'byte')}", soft_wrap=True
    )
