"""``stoker.export``: a store as files that other programs read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stoker.data.packed import Packed
from stoker.engine.budget import parse_bytes
from stoker.errors import ArgumentError
from stoker.packing.arrays import to_hdf5, to_npy
from stoker.packing.files import to_folder, to_tar, to_tars
from stoker.packing.rows import open_reader
from stoker.store.reader import Reader

FORMATS = ("folder", "hdf5", "npy", "tar")
_BY_ENDING = {".h5": "hdf5", ".hdf5": "hdf5", ".npy": "npy", ".tar": "tar"}

Progress = Callable[[int, int], object]


def export(
    store: str | os.PathLike[str] | Packed,
    target: str | os.PathLike[str],
    to: str | None = None,
    *,
    shard_bytes: int | str | None = None,
    progress: Progress | None = None,
) -> str:
    """Writes all rows of a store as files that need no Stoker: a folder, HDF5, NumPy arrays or tars. Returns their place.

    Rows come in the store's order, images as the store has them (tiled JPEGs are ordinary JPEGs), pixels as PNGs; of a
    store with K variants all are written, named ``-0`` … ``-(K-1)``. Everything is read once, checked, a row group at a
    time, and appears under its name when it is complete.

    ==========  ========================================================================================================
    folder      class folders where there are classes; names are the source's; other columns as .npy, .txt, .json or
                .bin beside a sample's image
    hdf5        a dataset for each column, of variable length where rows differ
    npy         one array; of several columns, a folder of them
    tar         a tar as WebDataset reads it, the label as .cls; with `shard_bytes` a folder of tars
    ==========  ========================================================================================================

    Args:
        store: a store's folder, or an open store.
        target: what is made; must not exist. A folder of arrays or tars is called so without the ending ".npy" or ".tar".
        to: "folder", "hdf5", "npy" or "tar"; by default what the ending of `target` says, else "folder".
        shard_bytes: about the size of a tar ("1GiB").
        progress: called with (rows written, rows in all).

    Raises:
        ArgumentError: an argument breaks a rule, `target` exists, or the format cannot hold a column.
        StoreError: the store is damaged; names file, offset and rows.
        MissingPackageError: the format's package is not installed.
    """
    place = os.path.abspath(os.fspath(target))
    format = to or _BY_ENDING.get(os.path.splitext(place)[1].lower(), "folder")
    if format not in FORMATS:
        raise ArgumentError(f"to must be one of {', '.join(FORMATS)}; got {to!r}.")
    if shard_bytes is not None and format != "tar":
        raise ArgumentError(f"shard_bytes is for tars; got to={format!r}.")
    reader = open_reader(store)
    num_bytes = None if shard_bytes is None else parse_bytes(shard_bytes)
    if num_bytes is not None or format == "npy":
        place = _place_of(
            place, f".{format}", is_folder=num_bytes is not None or len(reader.manifest.schema.sample_columns) > 1
        )
    with _staged(place) as staged:
        _write(reader, staged, format, num_bytes, _counter(reader.num_rows, progress))
    return place


def _place_of(place: str, ending: str, *, is_folder: bool) -> str:
    has_ending = place.lower().endswith(ending)
    if is_folder:
        return place[: -len(ending)] if has_ending else place
    return place if has_ending else f"{place}{ending}"


def _write(reader: Reader, staged: str, format: str, shard_bytes: int | None, count: Callable[[int], object]) -> None:
    if shard_bytes is not None:
        to_tars(reader, staged, shard_bytes, count)
        return
    writers = {"folder": to_folder, "hdf5": to_hdf5, "npy": to_npy, "tar": to_tar}
    writers[format](reader, staged, count)


def _counter(total: int, progress: Progress | None) -> Callable[[int], object]:
    done = 0

    def count(num_rows: int) -> None:
        nonlocal done
        done += num_rows
        if progress is not None:
            progress(done, total)

    return count


@contextmanager
def _staged(place: str) -> Iterator[str]:
    """A path beside `place` that gets its name at the end; removed where something fails."""
    _refuse_existing(place)
    parent = os.path.dirname(place)
    if not os.path.isdir(parent):
        raise ArgumentError(f"there is no folder {parent} to put {os.path.basename(place)} into; make it first.")
    scratch = tempfile.mkdtemp(prefix=".stoker-export-", dir=parent)
    try:
        staged = os.path.join(scratch, "whole")
        yield staged
        _refuse_existing(place)  # that came meanwhile
        os.rename(staged, place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_existing(place: str) -> None:
    if os.path.lexists(place):
        raise ArgumentError(f"{place} exists already; choose another place, or remove it.")
