"""Cells: a value as the bytes that a store keeps, and back. One pair of functions for each kind of column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.errors import StoreError
from stoker.store.schema import Column

TORCH_ONLY = {"bfloat16": torch.bfloat16}  # dtypes that NumPy lacks; carried as unsigned numbers


def decode_cell(column: Column, data: NDArray[np.uint8], shape: tuple[int, ...]) -> Any:
    """The value that `data` (private, writable memory) holds; `shape` where the column stores shapes."""
    if column.kind == "bytes" or column.kind == "image":
        return data.tobytes()
    if column.kind in ("string", "json"):
        text = _text(column, data)
        return _parsed(column, text) if column.kind == "json" else text
    if column.kind == "scalar":
        shape = ()
    elif column.kind == "tensor":
        shape = column.shape
    elif not column.stores_shape:
        shape = (-1,)
    return as_held(column, data.view(column.carrier).reshape(shape))


def _parsed(column: Column, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"a value of column {column.name!r} is no JSON: {error}") from error


def _text(column: Column, data: NDArray[np.uint8]) -> str:
    try:
        return data.tobytes().decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"a value of column {column.name!r} is no UTF-8: {error}") from error


def as_held(column: Column, values: NDArray[Any]) -> Any:
    """An array of carriers, as what the column's source had there: a number, an array, a tensor, a list."""
    if column.dtype == "bool":
        values = values.astype(np.bool_)
    if column.holder == "tensor" or column.dtype in TORCH_ONLY:
        return as_tensor(column, values)
    if column.holder == "number":
        return values.item()
    if column.holder == "list":
        return values.tolist()
    return values[()] if values.ndim == 0 else values


def as_tensor(column: Column, values: NDArray[Any]) -> torch.Tensor:
    """The tensor that shares memory with an array of carriers."""
    if column.dtype == "bool" and values.dtype != np.bool_:
        values = values.view(np.bool_)
    tensor = torch.from_numpy(values if values.ndim else values[None])
    tensor = tensor.view(TORCH_ONLY[column.dtype]) if column.dtype in TORCH_ONLY else tensor
    return tensor if values.ndim else tensor[0]


def encode_cell(column: Column, value: Any) -> tuple[bytes, tuple[int, ...]]:
    """The bytes of a value, and its shape where the column stores shapes. The value fits the column: `pack` has seen to that."""
    if column.kind in ("bytes", "image"):
        return bytes(value), ()
    if column.kind == "string":
        return value.encode(), ()
    if column.kind == "json":
        return json.dumps(value, ensure_ascii=False, sort_keys=True).encode(), ()
    array = carried(value)
    return np.ascontiguousarray(array).tobytes(), array.shape if column.stores_shape else ()


def carried(value: Any) -> NDArray[Any]:
    """Numbers as the array that carries them."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.view(torch.uint16) if value.dtype in TORCH_ONLY.values() else value
        value = value.numpy()
    array = np.asarray(value)
    return array.view(np.uint8) if array.dtype == np.bool_ else array.astype(array.dtype.newbyteorder("<"), copy=False)
