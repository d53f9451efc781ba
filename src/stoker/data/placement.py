"""Placement: which operations of a mapped dataset run per sample, and which over whole batches, on the loop's device.

Pixels travel to a device as uint8: what comes last in a column's Pipeline and works on finished pixels alone is taken off
it, and run there over the whole batch, under the same keys. Nothing is moved across foreign code. Where samples are
skipped (``on_error="skip"``), the operations there go by the row of the batch: its key is that of its position, whatever
sample took it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stoker.data.dataset import Dataset, Mapped, Selected
from stoker.image.batch_pipeline import BatchPipeline, PixelTail
from stoker.image.pipeline import Pipeline
from stoker.order.keys import batch_key, sample_keys


@dataclass(frozen=True)
class DeviceWork:
    """What is left to do to a batch when it is on the device: first `tails`, then `batch_ops`."""

    tails: Sequence[PixelTail] = ()
    batch_ops: Sequence[BatchPipeline] = ()

    def __bool__(self) -> bool:
        return bool(self.tails or self.batch_ops)

    def run(self, batch: Any, seed: int, epoch: int, position: int, num_rows: int) -> Any:
        """A pure function of its arguments, per type of device. `position` is the global one of the first of `num_rows` rows."""
        keys = sample_keys(seed, epoch, np.arange(position, position + num_rows, dtype=np.int64))
        for tail in self.tails:
            batch = tail.run(batch, keys)
        for op in self.batch_ops:
            batch = op.run(batch, batch_key(seed, epoch, position))
        return batch

    def describe(self) -> list[str]:
        """Each operation's text."""
        tails = [f"{tail.column}: {op!r}" for tail in self.tails for _, op in tail.ops]
        return tails + [f"batch: {text}" for op in self.batch_ops for text in op.describe()]


def place_on_device(dataset: Any) -> tuple[Any, DeviceWork]:
    """The dataset without what can be done on a device, and that; the dataset itself where there is nothing."""
    if not isinstance(dataset, Mapped | Selected):
        return dataset, DeviceWork()
    batch_ops = _parts(getattr(dataset, "transform_batch", None))
    inside = getattr(_innermost(dataset), "transform_batch", None)  # of a filter, say: it would still run there
    if inside is not None or not all(getattr(op, "runs_on_device", False) for op in batch_ops):
        return dataset, DeviceWork()
    tails: list[PixelTail] = []
    trimmed = _trimmed(dataset, set(), tails)
    work = DeviceWork(tails, batch_ops)
    return (trimmed, work) if work else (dataset, work)


def _innermost(dataset: Any) -> Any:
    """What is mapped and selected from. A filter's functions see the samples below it, which must stay as they are."""
    while isinstance(dataset, Mapped | Selected):
        dataset = dataset.source
    return dataset


def _parts(transform: Any) -> list[Any]:
    """The batch functions of a chain, in order."""
    if transform is None:
        return []
    if hasattr(transform, "first"):
        return [*_parts(transform.first), *_parts(transform.second)]
    return [transform]


def _trimmed(dataset: Dataset, taken: set[str], tails: list[PixelTail]) -> Dataset:
    """A copy without batch functions and pipelines' tails, which are added to `tails`; `taken` columns have work done later."""
    if not isinstance(dataset, Mapped | Selected):
        return dataset
    if isinstance(dataset, Selected):
        return Selected(_trimmed(dataset.source, taken, tails), dataset.indices)
    joint = () if dataset.joint is None else dataset.joint.columns
    functions = dict(dataset.functions)
    for column, function in dataset.functions.items():
        if type(function) is Pipeline and column not in {*taken, *joint}:
            head, tail = function.split()
            if tail:
                functions[column] = head
                tails.append(PixelTail(tail, column, dataset.columns.index(column)))
    source = _trimmed(dataset.source, {*taken, *joint, *functions}, tails)
    return Mapped(source, functions, None, dataset.joint) if functions or joint else source
