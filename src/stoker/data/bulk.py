"""The bulk path: datasets that hand out a collated batch in one go, without Python per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Subset, TensorDataset

from stoker.data.gather import TensorRows, is_plain
from stoker.data.hugging_face_batches import hugging_face_reader, is_hugging_face

GetBatch = Callable[[NDArray[np.int64]], Any]
"""int64 [batch] -> the collated batch, as ``default_collate`` would have it, in memory that is the caller's own."""


def bulk_reader(dataset: Any, collates_by_default: bool) -> GetBatch | None:
    """How to read `dataset` in bulk: its own `get_batch`, or what is known of torch's datasets; None where there is no way.

    A user's own collate function wants the samples, so nothing is read in bulk for it.
    """
    if not collates_by_default:
        return None
    own = getattr(dataset, "get_batch", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    if _is_tensor_dataset(dataset):
        return _tensor_dataset_reader(dataset)
    if type(dataset) is Subset:
        return _subset_reader(dataset)
    if type(dataset) is torch.Tensor:
        return TensorRows(dataset).gather if dataset.ndim and is_plain(dataset) else None
    return hugging_face_reader(dataset) if is_hugging_face(dataset) else None


def _is_tensor_dataset(dataset: Any) -> bool:
    """Whether samples are what TensorDataset makes of its tensors: also in a subclass that only adds to it."""
    kind, reads = type(dataset), ("__getitem__", "__getitems__")
    return isinstance(dataset, TensorDataset) and all(
        getattr(kind, name, None) is getattr(TensorDataset, name, None) for name in reads
    )


def _tensor_dataset_reader(dataset: TensorDataset) -> GetBatch | None:
    if not all(is_plain(tensor) for tensor in dataset.tensors):
        return None
    columns = [TensorRows(tensor) for tensor in dataset.tensors]

    def get_batch(indices: NDArray[np.int64]) -> Any:
        return [column.gather(indices) for column in columns]

    return get_batch


def _subset_reader(subset: Subset[Any]) -> GetBatch | None:
    inner = bulk_reader(subset.dataset, True)
    chosen = np.asarray(subset.indices)
    if inner is None or chosen.dtype.kind != "i":
        return None
    chosen = chosen.astype(np.int64)

    def get_batch(indices: NDArray[np.int64]) -> Any:
        return inner(chosen[indices])

    return get_batch
