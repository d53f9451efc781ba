"""Some samples of a store, spread over it: what can be learned without reading all of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.packed import Packed
from stoker.errors import DataError
from stoker.image.decode import EncodedImage
from stoker.image.sheet import contact_sheet, save_sheet
from stoker.packing.rows import Piece, label_column, open_reader
from stoker.store.reader import Reader
from stoker.store.schema import Column

_ON_SHEET = 64
_HEADERS = 512  # image files whose headers are read
_LABELS = 1_000_000
_CHANNELS = (1, 3, 4)


def spread(reader: Reader, most: int) -> Piece:
    """At most so many rows, at equal distances, from the first to the last."""
    last, count = reader.num_rows - 1, min(most, reader.num_rows)
    return Piece(reader, np.unique(np.linspace(0, last, count).astype(np.int64)))


def lengths(reader: Reader, column: Column) -> NDArray[np.int64]:
    """The bytes of a column's values in some rows."""
    piece = spread(reader, 4096)
    return reader.spans(column, piece.places).lengths


def shapes(reader: Reader, column: Column) -> NDArray[np.int64]:
    """The shapes of images or arrays in some rows, int64 [rows, dimensions]: of images (height, width). Damaged images are left out."""
    if column.kind != "image":
        found = spread(reader, 4096).shapes(column)
        return found[:, :2] if column.kind == "pixels" else found
    sizes = []
    for row in spread(reader, _HEADERS).rows:  # one at a time: a file is larger than what is wanted of it
        for data in Piece(reader, row[None]).cells(column):
            try:
                sizes.append(EncodedImage(data).size)
            except DataError:
                continue
    return np.array(sizes, np.int64).reshape(-1, 2)


def labels(reader: Reader) -> tuple[Counter[str], int] | None:
    """How often each class, or label, comes in the rows that were looked at, and how many these are; None without labels."""
    manifest = reader.manifest
    column = label_column(manifest.schema, has_classes=bool(manifest.classes))
    if column is None or not reader.num_rows:
        return None
    piece = spread(reader, _LABELS)
    values, counts = np.unique(piece.block(column, ()), return_counts=True)
    named = [_name_of(int(value), manifest.classes) for value in values]
    found = Counter(dict.fromkeys(manifest.classes, 0))
    found.update(dict(zip(named, counts.tolist(), strict=True)))
    return found, len(piece.rows)


def draw_sheet(root: str, path: str) -> int:
    """Draws samples spread over the store on a sheet at `path`; returns how many.

    Raises:
        DataError: the store has no column of images.
    """
    store = Packed(root, check=True)
    column = next((column for column in store.stored_columns if _shows(column)), None)
    if column is None:
        held = ", ".join(f"{column.name} ({column.kind})" for column in store.stored_columns)
        raise DataError(f"there is nothing to draw in {root}: it holds {held}, and no images.")
    reader = open_reader(root)
    rows = spread(reader, _ON_SHEET).rows
    images = [_picture(store, reader, column, int(row)) for row in rows]
    save_sheet(contact_sheet(images, _captions(store, reader, rows)), path)
    return len(rows)


def _picture(store: Packed, reader: Reader, column: Column, row: int) -> Any:
    value = next(iter(Piece(reader, np.array([row])).cells(column)))
    if column.kind != "image":
        return value
    return store.present(column.name, EncodedImage(value, store.sample_path(row // store.variants)))


def _shows(column: Column) -> bool:
    shape = column.shape
    is_picture = len(shape) == 2 or (len(shape) == 3 and (shape[0] in _CHANNELS or shape[2] in _CHANNELS))
    return column.kind in ("image", "pixels") or (is_picture and min(shape[-2:]) > 1)


def _captions(store: Packed, reader: Reader, rows: NDArray[np.int64]) -> list[str]:
    """Classes or labels, else names, else numbers."""
    column = label_column(reader.manifest.schema, has_classes=bool(store.classes))
    if column is not None:
        values = Piece(reader, rows).block(column, ())
        return [_name_of(int(value), store.classes) for value in values]
    names = [store.sample_name(int(row) // store.variants) for row in rows]
    return [(name or f"#{row}").rpartition("/")[2] for name, row in zip(names, rows, strict=True)]


def _name_of(label: int, classes: Any) -> str:
    return str(classes[label] if 0 <= label < len(classes) else label)
