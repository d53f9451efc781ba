"""Datasets of Hugging Face's library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.arrow_columns import Cells, cells_of
from stoker.data.arrow_kinds import Kind, nested_kind
from stoker.data.bulk import GetBatch
from stoker.data.handles import Handle
from stoker.data.optional import require
from stoker.data.values import Source, as_batch, check_indices
from stoker.errors import ArgumentError, DataError, TypeMismatchError

HUGGING_FACE_FILES = ("dataset_dict.json", "state.json")
"""Files that a folder written by ``save_to_disk`` has: one of a dict of splits, and one of a dataset."""


class HuggingFace(Source):
    """A ``datasets.Dataset``, or the folder that its ``save_to_disk`` wrote, read through Arrow.

    ==============================  ===================================================
    Image                           `EncodedImage`, not decoded until it is needed
    ClassLabel                      int
    numbers, lists of fixed length  a tensor of that dtype
    lists of numbers                a tensor [length of the list]
    Array2D to Array5D              a tensor
    string, binary                  str, bytes
    other lists and structs         list and dict
    ==============================  ===================================================

    A null is an error when its row is read. Where all columns are numbers, labels, strings or bytes, a batch is read in
    one go. Data stays memory-mapped; a folder travels to workers by its path, a dataset as its own library pickles it.
    Thread-safe. A format that was set is not used, as columns are converted here.

    Args:
        dataset: a dataset, or a folder.
        columns: which columns, in the order of a sample's. All if not given.

    Attributes:
        classes: names of the classes of the first ClassLabel; empty without one.

    Raises:
        MissingPackageError: the library datasets is not installed.
        DataError: the folder cannot be read, or holds several splits; names them.
        ArgumentError: there is no column of a name in `columns`, or the dataset has a transform.
        TypeMismatchError: it is no Dataset, or a column has a type that no value stands for (dates, audio); names it.
    """

    def __init__(self, dataset: str | os.PathLike[str] | Any, columns: Sequence[str] | None = None) -> None:
        by_path = isinstance(dataset, str | os.PathLike)
        self.path = os.path.abspath(os.fspath(dataset)) if by_path else None
        loaded = _load(self.path) if self.path is not None else _checked(dataset)
        self.columns = _known(loaded.column_names, columns)
        self._kinds = {name: _kind(name, loaded.features[name], loaded.data.schema) for name in self.columns}
        self._labels = [isinstance(loaded.features[name], _types().ClassLabel) for name in self.columns]
        self._shapes = [getattr(loaded.features[name], "shape", None) for name in self.columns]
        self.classes: list[str] = next(
            (
                list(loaded.features[name].names)
                for name, is_label in zip(self.columns, self._labels, strict=True)
                if is_label
            ),
            [],
        )
        self._length = len(loaded)
        self._rows = Handle(partial(_arrow_rows, loaded if self.path is None else self.path, self.columns))

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> tuple[Any, ...]:
        cells = self._cells(index, np.array([index]))
        return tuple(self._value(number, column.cell(0)) for number, column in enumerate(cells))

    def _value(self, number: int, value: Any) -> Any:
        if self._labels[number]:
            return int(value)
        if self._shapes[number] is not None:
            return np.array(value, self._kinds[self.columns[number]].dtype)
        return value

    @property
    def get_batch(self) -> GetBatch | None:
        """Reads a batch in one go, as a list of columns; None where a column's rows differ in length."""
        return self._read_batch if all(kind.is_bulk for kind in self._kinds.values()) else None

    def _read_batch(self, indices: NDArray[np.int64]) -> Any:
        check_indices(indices, len(self))
        places = np.arange(len(indices))
        batch = [column.cells(places) for column in self._cells(indices.tolist(), indices)]
        return as_batch([torch.from_numpy(column) if isinstance(column, np.ndarray) else column for column in batch])

    def _cells(self, selection: int | list[int], rows: NDArray[np.int64]) -> list[Cells]:
        table = self._rows.get()[selection]

        def name_row(row: int) -> str:
            return f"row {rows[row]}{f' of {self.path}' if self.path else ''}"

        return [
            cells_of(kind, table.column(name), name, name_row, follow_paths=True) for name, kind in self._kinds.items()
        ]

    def sample_path(self, index: int) -> str | None:
        return self.path


def _types() -> Any:
    return require("datasets", extra="hf")


def _load(path: str) -> Any:
    datasets = _types()
    if not os.path.isdir(path):
        raise FileNotFoundError(f"there is no folder at {path}")
    try:
        loaded = datasets.load_from_disk(path)
    except Exception as error:  # files of three formats are read, each with errors of its own
        raise DataError(f"cannot read {path} as a folder of save_to_disk: {error}") from error
    if isinstance(loaded, datasets.DatasetDict):
        splits = ", ".join(loaded)
        raise DataError(
            f"{path} holds several splits: {splits}. Give one of them: {os.path.join(path, next(iter(loaded), 'train'))}."
        )
    return _checked(loaded)


def _checked(dataset: Any) -> Any:
    datasets = _types()
    if isinstance(dataset, datasets.DatasetDict):
        raise TypeMismatchError(
            f"a DatasetDict holds several splits: {', '.join(dataset)}. Give one: dataset['train']."
        )
    if not isinstance(dataset, datasets.Dataset):
        raise TypeMismatchError(
            f"HuggingFace needs a folder or a datasets.Dataset; got {type(dataset).__name__}. An IterableDataset can be given "
            "to Loader as it is."
        )
    if dataset.format["type"] == "custom":
        raise ArgumentError(
            "the dataset has a transform, which reading through Arrow would leave out. Give it to Loader as it is, or take "
            "the transform off (reset_format) and use map here."
        )
    return dataset


def _known(names: list[str], columns: Sequence[str] | None) -> tuple[str, ...]:
    chosen = tuple(names if columns is None else columns)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen:
        wrong = f"got {', '.join(unknown)}" if unknown else "at least one is needed"
        raise ArgumentError(f"columns must be of those of the dataset, {', '.join(names)}; {wrong}.")
    return chosen


def _kind(name: str, feature: Any, schema: Any) -> Kind:
    datasets = _types()
    kind = nested_kind(schema.field(name).type)
    if kind is not None and kind.name == "nested" and hasattr(feature, "shape"):
        kind = Kind("nested", feature.dtype)
    if kind is None or (kind.name == "image" and not isinstance(feature, datasets.Image)):
        raise TypeMismatchError(
            f"column {name!r} is of a type that no plain value stands for: {feature}. Convert it, or name the columns that "
            "you want: columns=[...]."
        )
    return kind


def _arrow_rows(dataset: Any, columns: tuple[str, ...]) -> Any:
    """The dataset, whose rows come as Arrow tables; a path is opened."""
    loaded = _load(dataset) if isinstance(dataset, str) else dataset
    return loaded.with_format("arrow", columns=list(columns))
