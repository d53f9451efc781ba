"""``stoker pack``: turns a source into a store."""

from __future__ import annotations

from typing import Any

import click

_SHOWN = 5  # samples that were left out


def _workers(context: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"must be a number or 'auto'; got {value!r}.")
    return int(value)


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST", type=click.Path())
@click.option(
    "--images",
    type=click.Choice(["keep", "jpeg", "raw"]),
    default="keep",
    show_default=True,
    help="Keep pixels bit for bit (JPEGs are tiled without loss), encode all as JPEG, or store pixels.",
)
@click.option("--max-side", type=int, metavar="PIXELS", help="Reduce larger images to this longer side.")
@click.option("--quality", type=int, default=90, show_default=True, help="Of JPEGs that are encoded anew.")
@click.option("--transform", metavar="MODULE:FUNCTION", help="A function that is applied to each sample, once, here.")
@click.option(
    "--augment",
    type=int,
    default=1,
    metavar="K",
    show_default=True,
    help="Store K variants of each sample; the loader shows another in each epoch.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What becomes of samples that fail: skip leaves them out and names them.",
)
@click.option("--shard-bytes", default="128MiB", metavar="SIZE", show_default=True, help="About the size of a file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides the randomness of transforms.")
@click.option("--append", is_flag=True, help="Add the samples of SRC that the store DST lacks.")
@click.option("--workers", default="auto", metavar="N", show_default=True, callback=_workers, help="Processes.")
def pack(source: str, target: str, transform: str | None, workers: int | str, **options: Any) -> None:
    """Pack SRC into the store DST, which is read at the disk's speed.

    SRC is what stoker.open opens (a folder of images, tars, HDF5, Parquet ...), or MODULE:ATTRIBUTE: a dataset in Python,
    or a function that returns one. Modules in the current directory can be named.

    A pack that was stopped goes on where it was when the same command is run again.
    """  # fmt: skip
    import stoker
    from stoker.cli.objects import is_reference, named_dataset, named_object
    from stoker.cli.screen import console, plain, progress_bar, shown_on

    if transform is not None:
        options["transform"] = named_object(transform)
    try:
        with progress_bar("samples") as bar:
            progress = shown_on(bar, "packing")
            dataset = named_dataset(source) if is_reference(source) else source
            summary = stoker.pack(dataset, target, num_workers=workers, progress=progress, **options)
    except KeyboardInterrupt:
        click.echo("Stopped. Run the same command again, and it goes on where it stopped.", err=True)
        raise click.exceptions.Exit(130) from None
    console.print("\n".join(map(plain, str(summary).splitlines())), soft_wrap=True)
    for entry in summary.quarantine[:_SHOWN]:
        console.print(f"   {plain(entry['name'] or entry['index'])}: {plain(entry['error'])}", soft_wrap=True)
    if len(summary.quarantine) > _SHOWN:
        console.print(f"   … and {len(summary.quarantine) - _SHOWN:,} more: stoker inspect {plain(target)}")
