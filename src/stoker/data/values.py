"""What users see of the values that a source reads: numbers as tensors, encoded images as pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stoker.data.dataset import Dataset
from stoker.image.decode import EncodedImage


class Source(Dataset):
    """A dataset of files. `read` gives raw values; what becomes of them depends on their type alone.

    ==========================  =============================  ==============================
    raw                         in a sample that nobody maps   what a function of map gets
    ==========================  =============================  ==============================
    `EncodedImage`              uint8 [3, height, width]       a PIL RGB image; a Pipeline gets it encoded
    NumPy array or scalar       the tensor of that dtype       the tensor
    anything else               as it is                       as it is
    ==========================  =============================  ==============================

    So numbers keep their dtype, and a sample's memory is private and writable.
    """

    def finish(self, column: str, value: Any) -> Any:
        if isinstance(value, EncodedImage):
            return torch.from_numpy(value.decode()).permute(2, 0, 1).contiguous()
        return as_tensor(value)

    def present(self, column: str, value: Any) -> Any:
        return Image.fromarray(value.decode()) if isinstance(value, EncodedImage) else as_tensor(value)


def as_tensor(value: Any) -> Any:
    """A NumPy array as a tensor that shares its memory, a scalar as a tensor without dimensions; the rest as it is."""
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(value)
        return tensor if value.size else tensor.new_empty(value.shape)  # NumPy's strides of 0 are not torch's
    if isinstance(value, np.generic):
        return torch.from_numpy(np.array(value))
    return value


def as_batch(columns: list[Any]) -> Any:
    """The batch of these columns, tensors or lists of plain values, as ``default_collate`` has it: there lists are tuples."""
    if len(columns) == 1:
        return columns[0]
    return [tuple(column) if isinstance(column, list) else column for column in columns]


def check_indices(indices: NDArray[np.int64], length: int) -> None:
    """Raises IndexError where one of `indices` is not in ``[0, length)``."""
    if len(indices) and indices.astype(np.uint64).max() >= length:  # below 0 is above as well, seen without the sign
        outside = indices[(indices < 0) | (indices >= length)]
        raise IndexError(f"index {outside[0]} is out of range for {length} samples")


def has_torch_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether torch has numbers of this dtype, in whatever order of bytes."""
    try:
        torch.from_numpy(np.empty(0, dtype.newbyteorder("=")))
    except TypeError:
        return False
    return True


def native(values: Any) -> Any:
    """An array or scalar in this machine's order of bytes."""
    dtype = values.dtype
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))
