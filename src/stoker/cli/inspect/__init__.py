"""``stoker inspect``: what is in a store."""

from __future__ import annotations

import click


@click.command()
@click.argument("store", metavar="STORE", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--sheet",
    metavar="IMAGE",
    type=click.Path(dir_okay=False),
    help="Also draw samples spread over the store: sheet.png.",
)
def inspect(store: str, sheet: str | None) -> None:
    """Show what STORE holds: columns, sizes, shapes, labels, samples that were left out, and how it was made."""
    from stoker.cli.inspect.report import tell
    from stoker.cli.inspect.samples import draw_sheet
    from stoker.cli.screen import console, plain

    tell(store)
    if sheet is not None:
        num_samples = draw_sheet(store, sheet)
        console.print(f"\n{num_samples} samples are drawn in {plain(sheet)}", soft_wrap=True)
