"""A packed store as a dataset: the columns of its source, read from mapped shards."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stoker.data.dataset import Dataset
from stoker.errors import StoreError
from stoker.image.batched import EncodedBatch, ImageBatch, PixelBatch
from stoker.image.decode import EncodedImage
from stoker.order.keys import current_epoch, mix64_array
from stoker.store.cells import as_tensor, decode_cell
from stoker.store.reader import Places, Reader
from stoker.store.schema import Column

_BULK_KINDS = ("scalar", "tensor", "string", "bytes")
_NAME = "_name"


class Packed(Dataset):
    """The samples of the store at `root`, as `stoker.pack` wrote it.

    Samples, columns and classes are those of the source. A column of images gives `EncodedImage`s to a Pipeline, which
    decodes what it needs; raw pixels are a tensor [3, height, width]. Whoever gets a value gets memory of its own. A
    store packed with ``augment=K`` has one sample for every K variants: which one is shown is a function of the epoch,
    and over K epochs each is shown once.

    Reading releases the GIL while it waits for the disk. Thread-safe. Works in torch's DataLoader as well, and travels to
    workers as its manifest: each opens the shards by path.

    Args:
        root: the store's folder.
        check: whether each row group's checksum is compared when it is first read from.

    Attributes:
        classes: names of the classes, where the source had them.

    Raises:
        StoreError: the store is damaged; names file, offset and rows.
    """

    def __init__(self, root: str | os.PathLike[str], *, check: bool = False) -> None:
        self.root = os.fspath(root)
        self.reader = Reader(self.root, check=check)
        manifest = self.reader.manifest
        schema = manifest.schema
        self.variants = manifest.variants
        self.classes = list(manifest.classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.stored_columns = schema.sample_columns
        self.columns = tuple(column.name for column in self.stored_columns)
        self._tree = schema.sample
        self._has_names = any(column.name == _NAME and not column.in_sample for column in schema.columns)
        self._offer_bulk()

    def _offer_bulk(self) -> None:
        """Has `get_batch` only where every column can be read in bulk: its presence is what the engine looks for."""
        if all(column.kind in _BULK_KINDS and column.holder != "list" for column in self.stored_columns):
            self.get_batch = self._get_batch

    def __len__(self) -> int:
        return self.reader.manifest.num_samples

    def rows_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The store's row of each sample, in the epoch that is being loaded."""
        if self.variants == 1:
            return indices
        phases = mix64_array(indices.astype(np.uint64)) + np.uint64(current_epoch())
        return indices * self.variants + (phases % np.uint64(self.variants)).astype(np.int64)

    def read(self, index: int) -> tuple[Any, ...]:
        rows = self.rows_of(np.array([index], np.int64))
        places = self.reader.find(rows)
        return tuple(self._value(column, rows, places) for column in self.stored_columns)

    def _value(self, column: Column, rows: NDArray[np.int64], places: Places) -> Any:
        data, _ = self.reader.copy(column, places)
        shape = tuple(self.reader.shapes(column, places)[0].tolist()) if column.stores_shape else ()
        value = decode_cell(column, data, shape)
        if column.kind == "image":
            return EncodedImage(value, self._path(rows))
        return torch.from_numpy(value).permute(2, 0, 1) if column.kind == "pixels" else value

    def _path(self, rows: NDArray[np.int64]) -> str:
        return f"{self.root}[{self._name(rows) or int(rows[0])}]"

    def _name(self, rows: NDArray[np.int64]) -> str | None:
        if not self._has_names:
            return None
        column = self.reader.manifest.schema[_NAME]
        name: str = decode_cell(column, self.reader.copy(column, self.reader.find(rows))[0], ())
        return name

    def sample_name(self, index: int) -> str | None:
        return self._name(np.array([index * self.variants], np.int64))

    def sample_path(self, index: int) -> str:
        return self._path(np.array([index * self.variants], np.int64))

    def _kind_of(self, column: str) -> str:
        return self.reader.manifest.schema[column].kind

    def finish(self, column: str, value: Any) -> Any:
        kind = self._kind_of(column)
        if kind == "image":
            return torch.from_numpy(value.decode()).permute(2, 0, 1).contiguous()
        return value.contiguous() if kind == "pixels" else value

    def present(self, column: str, value: Any) -> Any:
        kind = self._kind_of(column)
        if kind == "image":
            return Image.fromarray(value.decode())
        return Image.fromarray(value.permute(1, 2, 0).numpy()) if kind == "pixels" else value

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        return _grow(self._tree, dict(zip(self.columns, values, strict=True)))

    def _get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The collated batch, as torch's ``default_collate`` would make it of these samples."""
        places = self.reader.find(self.rows_of(indices))
        values = {column.name: self._batch(column, places) for column in self.stored_columns}
        return _grow(self._tree, values, collated=True)

    def _batch(self, column: Column, places: Places) -> Any:
        data, bounds = self.reader.copy(column, places)
        if column.is_varying:
            ends = bounds.tolist()
            cells = (data[start:end] for start, end in pairwise(ends))
            return [decode_cell(column, cell, ()) for cell in cells]
        batch = as_tensor(column, data.view(column.carrier).reshape(len(places.groups), *column.shape))
        return batch.to(torch.float64) if column.holder == "number" and batch.is_floating_point() else batch

    # A batch at a time, for image pipelines: see data/image_rows.py

    def image_batch(self, column: str, indices: NDArray[np.int64]) -> ImageBatch | None:
        """The images of a column, as they stand in the mapped shards."""
        stored = self.reader.manifest.schema[column]
        if stored.kind not in ("image", "pixels"):
            return None
        places = self.reader.find(self.rows_of(indices))
        spans = self.reader.spans(stored, places)
        if stored.kind == "image":
            return EncodedBatch(spans.addresses, spans.lengths, self.reader)
        shapes = self.reader.shapes(stored, places)
        if (shapes[:, 2] != 3).any():
            raise StoreError(f"column {column!r} of {self.root} holds pixels that are not of three channels.")
        return PixelBatch(spans.addresses, np.ascontiguousarray(shapes[:, :2]), self.reader)

    def number_batch(self, column: str, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The values of a column of numbers or equal arrays: [n, ...]."""
        stored = self.reader.manifest.schema[column]
        data, _ = self.reader.copy(stored, self.reader.find(self.rows_of(indices)))
        values = data.view(stored.carrier).reshape(len(indices), *stored.shape)
        return values.view(np.bool_) if stored.dtype == "bool" else values

    def example(self, column: str) -> Any:
        """A value of such a column, as far as type, dtype and shape go; None for others."""
        stored = self.reader.manifest.schema[column]
        if stored.kind not in ("scalar", "tensor") or stored.holder == "list":
            return None
        return decode_cell(stored, np.zeros(stored.row_bytes, np.uint8), ())

    # Ahead of need

    @property
    def mean_sample_bytes(self) -> int:
        """Bytes of a sample in the shards, on average."""
        manifest = self.reader.manifest
        return max(1, sum(shard.num_bytes for shard in manifest.shards) // max(1, manifest.num_samples))

    def is_in_memory(self) -> bool:
        """Whether places spread over the store are all in the page cache: then there is nothing to read ahead."""
        return self.reader.is_in_memory()

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        """Says that these samples will be read soon: the kernel reads them in the background."""
        self.reader.read_ahead(self.stored_columns, self.rows_of(indices))

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "manifest": self.reader.manifest.checksum[:16]}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "get_batch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._offer_bulk()

    def __repr__(self) -> str:
        kinds = ", ".join(f"{column.name}: {column.kind}" for column in self.stored_columns)
        return f"Packed({self.root!r}, {len(self):,} samples of {kinds})"


def _grow(tree: Any, values: dict[str, Any], *, collated: bool = False) -> Any:
    """The sample that `tree` describes; a batch of tuples is a list, as torch's collate has it."""
    ((kind, inner),) = tree.items()
    if kind == "column":
        return values[inner]
    if kind == "dict":
        return {key: _grow(part, values, collated=collated) for key, part in inner.items()}
    parts = [_grow(part, values, collated=collated) for part in inner]
    return tuple(parts) if kind == "tuple" and not collated else parts
