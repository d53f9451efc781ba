"""Batches of a ``datasets.Dataset`` that is given to a loader as it is, with_format("torch") or "numpy": no Python per sample.

The library itself makes a dict of each sample, a tensor of each value, and collate puts them together again. What comes of
it is decided by the first sample; the rest are numbers, which lie in Arrow's memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from stoker.data.arrow_columns import uniform_rows
from stoker.data.gather import is_plain
from stoker.data.handles import Handle
from stoker.data.piece_rows import PieceRows
from stoker.data.values import check_indices

_Numbers = tuple[PieceRows, torch.dtype]


def is_hugging_face(dataset: Any) -> bool:
    """Whether it is a ``datasets.Dataset``. Does not import the library."""
    library = sys.modules.get("datasets")
    return library is not None and type(dataset) is library.Dataset


def hugging_face_reader(dataset: Any) -> Callable[[NDArray[np.int64]], Any] | None:
    """How to read batches of `dataset` in one go, as ``default_collate`` makes them of its samples; None where there is no way.

    There is one for formats of torch and NumPy whose columns are numbers, lists of numbers that are all of one length,
    or strings. Whether lists are is seen when the first batch is read; where they are not, or there are nulls, samples are
    collated after all.
    """
    said = dataset.format
    if said["type"] not in ("torch", "numpy") or said["output_all_columns"] or not len(dataset) or not said["columns"]:
        return None
    features = dataset.features
    if not all(_is_simple(features[name]) for name in said["columns"]):
        return None
    return _Batches(dataset)


def _is_simple(feature: Any) -> bool:
    """Whether a feature is of numbers or strings. Images and audio are decoded, and translations are dicts."""
    library = sys.modules["datasets"]
    while hasattr(feature, "feature"):  # List, LargeList, Sequence
        feature = feature.feature
    arrays = (library.Array2D, library.Array3D, library.Array4D, library.Array5D)
    return isinstance(feature, (library.Value, library.ClassLabel, *arrays))


class _Batches:
    """Reads batches. Thread-safe; what it finds in Arrow's memory does not travel."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._columns = Handle(lambda: _columns(dataset))

    def __call__(self, indices: NDArray[np.int64]) -> Any:
        columns = self._columns.get()
        if columns is None:
            return default_collate(self._dataset.__getitems__(indices.tolist()))
        return columns.read(indices)


class _Columns:
    """The columns of a dataset, in Arrow's memory.

    Args:
        columns: by name, in the order of a sample's: how a column of numbers is gathered, and the dtype of a batch; or the
            class of a column's strings.
        strings: the dataset in Arrow's format, with the columns of strings alone.
        rows: where the rows of the dataset lie in its table, where that is not one after the other.
        length: of the dataset.
    """

    def __init__(
        self, columns: dict[str, _Numbers | type[str]], strings: Any, rows: NDArray[np.int64] | None, length: int
    ) -> None:
        self._columns, self._strings, self._rows, self._length = columns, strings, rows, length

    def read(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        check_indices(indices, self._length)
        places = indices if self._rows is None else self._rows[indices]
        batch: dict[str, Any] = {}
        strings = None
        for name, column in self._columns.items():
            if isinstance(column, type):
                strings = self._strings[indices.tolist()] if strings is None else strings
                batch[name] = list(map(column, strings.column(name).to_pylist()))
            else:
                rows, dtype = column
                batch[name] = torch.from_numpy(rows.gather(places)).to(dtype)
        return batch


def _columns(dataset: Any) -> _Columns | None:
    """The columns, where a batch of them can be had without making samples."""
    first = default_collate(dataset.__getitems__([0]))
    table, rows = dataset.data, _row_numbers(dataset)
    if rows is None and table.num_rows != len(dataset):
        return None
    columns: dict[str, _Numbers | type[str]] = {}
    for name, value in first.items():
        if isinstance(value, list) and isinstance(value[0], str) and not table.column(name).null_count:
            columns[name] = type(value[0])
            continue
        pieces = [uniform_rows(chunk) for chunk in table.column(name).chunks if len(chunk)]
        shape = tuple(value.shape[1:]) if isinstance(value, torch.Tensor) and is_plain(value) else None
        if shape is None or any(piece is None or piece.shape[1:] != shape for piece in pieces):
            return None
        columns[name] = PieceRows.of([piece for piece in pieces if piece is not None]), value.dtype
    strings = [name for name, column in columns.items() if isinstance(column, type)]
    return _Columns(columns, dataset.with_format("arrow", columns=strings), rows, len(dataset))


def _row_numbers(dataset: Any) -> NDArray[np.int64] | None:
    """The numbers of the dataset's rows in its table, after select or shuffle; None where they are the table's."""
    table = getattr(dataset, "_indices", None)
    return None if table is None else table.column(0).to_numpy().astype(np.int64)
