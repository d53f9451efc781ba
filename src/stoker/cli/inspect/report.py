"""What `stoker inspect` prints."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.filesize import decimal
from rich.table import Table

from stoker.cli.inspect.samples import labels, lengths, shapes
from stoker.cli.screen import console, counted, plain
from stoker.packing.rows import open_reader
from stoker.store.manifest import Manifest
from stoker.store.reader import Reader
from stoker.store.schema import Column

_SHAPES, _LABELS, _LEFT_OUT = 5, 15, 10  # lines of each
_BAR = 24


def tell(root: str) -> None:
    """Prints what the store at `root` holds.

    Raises:
        StoreError: it is damaged, or none.
    """
    reader = open_reader(root)
    _print_counts(root, reader.manifest)
    _print_columns(reader)
    for column in reader.manifest.schema.sample_columns:
        if column.kind in ("image", "pixels", "ragged"):
            _print_shapes(column, shapes(reader, column))
    _print_labels(reader)
    _print_quarantine(reader.manifest)
    _print_source(reader.manifest)


def _chapter(title: str) -> None:
    console.print(f"\n[bold]{plain(title)}[/]")


def _print_counts(root: str, manifest: Manifest) -> None:
    groups = [group for shard in manifest.shards for group in shard.groups]
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    console.print(f"[bold]{plain(os.path.basename(os.path.abspath(root)))}[/]")
    rows = f" in {manifest.num_rows:,} rows: {manifest.variants} variants of each" if manifest.variants > 1 else ""
    console.print(f"   {manifest.num_samples:,} samples{rows}")
    console.print(f"   {decimal(num_bytes)} in {counted(len(manifest.shards), 'shard')}{_against(manifest, num_bytes)}")
    if groups:
        mean = sum(group.num_bytes for group in groups) // len(groups)
        console.print(f"   {counted(len(groups), 'row group')} of {decimal(mean)} on average")


def _against(manifest: Manifest, num_bytes: int) -> str:
    source = manifest.summary.get("source_bytes")
    return f", {num_bytes / source:.3f} of the source's {decimal(source)}" if source else ""


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _print_columns(reader: Reader) -> None:
    _chapter("Columns")
    table = _table("   name", "kind", "of", "median", "largest", right=("median", "largest"))
    for column in reader.manifest.schema.columns:
        sizes = lengths(reader, column)
        name = plain(column.name) + ("" if column.in_sample else " [dim](beside the sample)[/]")
        table.add_row(
            f"   {name}", column.kind, _values_of(column), decimal(int(np.median(sizes))), decimal(int(sizes.max()))
        )
    console.print(table)


def _values_of(column: Column) -> str:
    dims = list(column.shape) if column.kind == "tensor" else ["…"] * column.num_dims
    shape = f" [{', '.join(map(str, dims))}]" if dims else ""
    return plain(f"{column.dtype}{shape}")


def _print_shapes(column: Column, found: NDArray[np.int64]) -> None:
    names = ("height", "width") if column.kind != "ragged" else tuple(f"dimension {n}" for n in range(found.shape[1]))
    _chapter(f"Shapes of {column.name} ({' × '.join(names)}), in {counted(len(found), 'row')}")
    if not len(found):
        return
    for name, sizes in zip(names, found.T, strict=True):
        console.print(f"   {name}: {sizes.min():,} to {sizes.max():,}, median {int(np.median(sizes)):,}")
    counts = Counter(" × ".join(map(str, shape)) for shape in found.tolist())
    _print_bars(counts.most_common(_SHAPES), len(counts), "shapes")


def _print_labels(reader: Reader) -> None:
    found = labels(reader)
    if found is None:
        return
    counts, num_rows = found
    values = list(counts.values())
    _chapter(f"Labels: {counted(len(counts), 'class', 'classes')}, in {counted(num_rows, 'row')}")
    console.print(f"   rows of a class: {min(values):,} to {max(values):,}, median {int(np.median(values)):,}")
    _print_bars(counts.most_common(_LABELS), len(counts), "classes")


def _print_bars(counts: list[tuple[str, int]], num_all: int, what: str) -> None:
    largest = max(count for _, count in counts)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="ellipsis", max_width=36, no_wrap=True)
    table.add_column(justify="right")
    for name, count in counts:
        table.add_row(f"   {plain(name)}", f"{count:,}", f"[cyan]{'━' * round(_BAR * count / max(1, largest))}[/]")
    console.print(table)
    if num_all > len(counts):
        console.print(f"   [dim]… and {num_all - len(counts):,} other {what}[/]")


def _print_quarantine(manifest: Manifest) -> None:
    if not manifest.quarantine:
        return
    _chapter(f"Left out: {counted(len(manifest.quarantine), 'sample')}")
    for entry in manifest.quarantine[:_LEFT_OUT]:
        place = entry.get("name") or f"sample {entry.get('index')}"
        console.print(f"   {plain(place)}: {plain(entry.get('error'))}", soft_wrap=True)
    if len(manifest.quarantine) > _LEFT_OUT:
        console.print(f"   [dim]… and {len(manifest.quarantine) - _LEFT_OUT:,} more[/]")


def _print_source(manifest: Manifest) -> None:
    _chapter("Made from")
    source = dict(manifest.source)
    options: Any = source.pop("options", {})
    table = Table.grid(padding=(0, 2, 0, 0))
    shown = {**source, **(options if isinstance(options, dict) else {})}
    for key, value in shown.items():
        table.add_row(f"   [dim]{plain(key)}[/]", plain("–" if value is None else value))
    for what, count in manifest.summary.get("images", {}).items():
        table.add_row("   [dim]images[/]", plain(f"{count:,} {what}"))
    console.print(table)
