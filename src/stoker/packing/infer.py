"""From samples to a schema: what each value is, and what holds the values of several samples."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from stoker.errors import StoreError
from stoker.packing.images import is_image
from stoker.store.schema import DTYPES, Column

_NUMBERS = {bool: "bool", int: "int64", float: "float64"}


class MisfitError(Exception):
    """A value that its column cannot hold, and `column`, which holds it and those before."""

    def __init__(self, column: Column) -> None:
        super().__init__(column.name)
        self.column = column

    def __reduce__(self) -> Any:
        return MisfitError, (self.column,)


def flatten(sample: Any) -> tuple[Any, dict[str, Any]]:
    """A sample's structure, as a schema has it, and its values by column. A tuple's are named "0", "1" …, a lone value "value"."""
    values: dict[str, Any] = {}
    return _flatten(sample, "", values), values


def _flatten(value: Any, name: str, values: dict[str, Any]) -> Any:
    prefix = f"{name}." if name else ""
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        return {"dict": {key: _flatten(part, f"{prefix}{key}", values) for key, part in value.items()}}
    is_structure = isinstance(value, tuple) or (isinstance(value, list) and (not name or _holds_arrays(value)))
    if is_structure and len(value):
        parts = [_flatten(part, f"{prefix}{number}", values) for number, part in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}
    name = name or "value"
    if name in values:
        raise StoreError(f"two values of a sample would both be the column {name!r}; rename a key.")
    values[name] = value
    return {"column": name}


def _holds_arrays(value: list[Any]) -> bool:
    return any(isinstance(part, np.ndarray | torch.Tensor) or is_image(part) for part in value)


def column_of(name: str, value: Any, *, raw_images: bool) -> Column:
    """The narrowest column that holds `value`.

    Raises:
        StoreError: no column does; says which do.
    """
    if is_image(value):
        return Column(name, "pixels", "") if raw_images else Column(name, "image")
    if isinstance(value, bytes | bytearray | memoryview):
        return Column(name, "bytes")
    if isinstance(value, str):
        return Column(name, "string")
    if type(value) in _NUMBERS and _is_storable(value):
        return Column(name, "scalar", _NUMBERS[type(value)], holder="number")
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return _array_column(name, value)
    if isinstance(value, list) and _is_of_numbers(value):
        return Column(name, "ragged", _NUMBERS[type(value[0])], num_dims=1, holder="list")
    if _is_json(value):
        return Column(name, "json")
    raise StoreError(
        f"column {name!r} holds {type(value).__module__}.{type(value).__qualname__}, which a store cannot keep: give it numbers, "
        "arrays, tensors, text, bytes, images, or what JSON holds (a transform can convert it)."
    )


def _is_of_numbers(values: list[Any]) -> bool:
    """Whether all are whole numbers of 64 bits, or all floating-point ones."""
    kinds = set(map(type, values))
    return (kinds == {int} or kinds == {float}) and all(map(_is_storable, values))


def _is_storable(value: Any) -> bool:
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


def _array_column(name: str, value: Any) -> Column:
    is_tensor = isinstance(value, torch.Tensor)
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES or (is_tensor and value.layout is not torch.strided):
        raise StoreError(
            f"column {name!r} holds an array of dtype {value.dtype}, which a store cannot keep; it keeps {', '.join(DTYPES)}."
        )
    holder, shape = "tensor" if is_tensor else "array", tuple(value.shape)
    if not shape:
        return Column(name, "scalar", dtype, holder=holder)
    if 0 in shape:
        return Column(name, "ragged", dtype, num_dims=len(shape), holder=holder)
    return Column(name, "tensor", dtype, shape, holder=holder)


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def widened(known: Column, found: Column) -> Column:
    """A column that holds the values of both.

    Raises:
        StoreError: there is none; says what was found.
    """
    if known == found:
        return known
    arrays = {known.kind, found.kind} <= {"tensor", "ragged"}
    if arrays and known.dtype == found.dtype and known.holder == found.holder and _dims(known) == _dims(found):
        return replace(known, kind="ragged", shape=(), num_dims=_dims(known))
    if _json_able(known) and _json_able(found):
        return Column(known.name, "json")
    raise StoreError(f"column {known.name!r} holds {_text(known)} in some samples and {_text(found)} in others.")


def _dims(column: Column) -> int:
    return len(column.shape) if column.kind == "tensor" else column.num_dims


def _json_able(column: Column) -> bool:
    return column.kind in ("string", "json") or column.holder in ("number", "list")


def _text(column: Column) -> str:
    shape = f" of {_dims(column)} dimensions" if column.kind in ("tensor", "ragged") else ""
    return f"{column.dtype} {column.kind}{shape}".strip()
