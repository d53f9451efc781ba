"""Rows of image datasets a batch at a time: no Python per sample between the file and the batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Subset

from stoker.batch.layout import Layout, infer_layout
from stoker.data.dataset import Dataset, Mapped, Selected
from stoker.image.batched import ImageBatch
from stoker.image.fused import Fused
from stoker.image.pipeline import Pipeline
from stoker.order.keys import set_current_key


class BatchSource(Protocol):
    """What a source implements so that its images are decoded a batch at a time."""

    def image_batch(self, column: str, indices: NDArray[np.int64]) -> ImageBatch | None:
        """The images of a column of images; None for another column."""

    def number_batch(self, column: str, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The values of a column of numbers or equal arrays, [n, ...]."""

    def example(self, column: str) -> Any:
        """A value of such a column, as far as type, dtype and shape go; None for columns of another kind."""


class RowReader:
    """Reads rows of a mapped image dataset straight into a batch. Gives what ``dataset[index]`` gives, bit for bit. Thread-safe.

    Attributes:
        layout: of the batches.
    """

    def __init__(
        self,
        source: Any,
        indices: NDArray[np.int64] | None,
        fused: dict[str, Fused],
        pipelines: dict[str, Pipeline],
        layout: Layout,
    ) -> None:
        self._source, self._indices, self._fused, self._pipelines = source, indices, fused, pipelines
        self.layout = layout

    def read_into(self, indices: NDArray[np.int64], keys: NDArray[np.uint64], arrays: list[NDArray[Any]]) -> None:
        """Writes the samples `indices`, made under `keys`, to `arrays`: one for each column, [n, ...].

        Raises:
            ImageError: an image is damaged.
        """
        chosen = indices if self._indices is None else self._indices[indices]
        for number, (column, array) in enumerate(zip(self._source.columns, arrays, strict=True)):
            fused = self._fused.get(column)
            if fused is None:
                array[...] = self._source.number_batch(column, chosen)
                continue
            for position in fused.run(self._source.image_batch(column, chosen), keys, array).tolist():
                set_current_key(int(keys[position]))
                value = self._source.read(int(chosen[position]))[number]
                self._pipelines[column](value, out=array[position])


def row_reader(dataset: Any) -> RowReader | None:
    """How the rows of `dataset` can be read a batch at a time; None where they cannot."""
    functions: dict[str, Any] = {}
    indices: NDArray[np.int64] | None = None
    while isinstance(dataset, Mapped | Selected) or type(dataset) is Subset:
        if isinstance(dataset, Mapped):
            whole = dataset.joint is not None or dataset.transform_batch is not None
            if functions.keys() & dataset.functions.keys() or whole:
                return None
            functions |= dataset.functions
            dataset = dataset.source
        else:
            own = np.asarray(dataset.indices, np.int64)
            indices = own if indices is None else own[indices]
            dataset = dataset.source if isinstance(dataset, Selected) else dataset.dataset
    if not functions or not hasattr(dataset, "image_batch") or not isinstance(dataset, Dataset):
        return None
    return _reader(dataset, indices, functions)


def _reader(source: Any, indices: NDArray[np.int64] | None, functions: dict[str, Any]) -> RowReader | None:
    fused: dict[str, Fused] = {}
    values = []
    nothing = np.zeros(0, np.int64)
    for column in source.columns:
        function = functions.get(column)
        if type(function) is Pipeline and source.image_batch(column, nothing) is not None:
            found = function.fused()
            if found is None:
                return None
            fused[column] = found
            values.append(found.example())
        else:
            value = None if function is not None else source.example(column)
            if value is None:
                return None
            values.append(value)
    layout = infer_layout(source.as_sample(tuple(values)))
    return None if layout is None else RowReader(source, indices, fused, functions, layout)
