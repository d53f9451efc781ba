"""What the values of an Arrow column are: one kind for each type that a column can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stoker.data.optional import require


@dataclass(frozen=True)
class Kind:
    """What the values of a column are.

    Attributes:
        name: "number", "list", "str", "bytes" or "image"; "nested" for what becomes Python's dicts and lists.
        dtype: of numbers and of the elements of lists; else "".
        shape: of the numbers in a row: that of nested lists of fixed size.
    """

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.dtype, str(list(self.shape)) if self.shape else "")))

    @property
    def is_bulk(self) -> bool:
        """Whether a batch of them is one gather, or a list."""
        return self.name in ("number", "str", "bytes")


def kind_of(type_: Any) -> Kind | None:
    """The kind of a column of an Arrow type; None where no plain value stands for it: dates, decimals, maps, nested lists."""
    pa = require("pyarrow")
    types = pa.types
    shape: list[int] = []
    if isinstance(type_, pa.FixedShapeTensorType) and list(type_.permutation or []) == sorted(type_.permutation or []):
        return Kind("number", _dtype_name(type_.value_type), tuple(type_.shape))
    if types.is_dictionary(type_):
        type_ = type_.value_type
    while types.is_fixed_size_list(type_):
        shape.append(type_.list_size)
        type_ = type_.value_type
    if _dtype_name(type_):
        return Kind("number", _dtype_name(type_), tuple(shape))
    if shape:
        return None
    if (types.is_list(type_) or types.is_large_list(type_)) and _dtype_name(type_.value_type):
        return Kind("list", _dtype_name(type_.value_type))
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return Kind("str")
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_):
        return Kind("bytes")
    if types.is_fixed_size_binary(type_):
        return Kind("bytes")
    return Kind("image") if _is_image(type_) else None


def nested_kind(type_: Any) -> Kind | None:
    """As `kind_of`, with lists and structs of any depth too; None where something in them is no plain value."""
    types = require("pyarrow").types
    if hasattr(type_, "storage_type"):
        type_ = type_.storage_type
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        parts = [type_.value_type]
    elif types.is_struct(type_):
        parts = [field.type for field in type_]
    else:
        return kind_of(type_)
    plain = all(nested_kind(part) is not None for part in parts)
    return kind_of(type_) or (Kind("nested") if plain else None)


def _dtype_name(type_: Any) -> str:
    types = require("pyarrow").types
    if not (types.is_boolean(type_) or types.is_integer(type_) or types.is_floating(type_)):
        return ""
    return str(np.dtype(type_.to_pandas_dtype()).name)


def _is_image(type_: Any) -> bool:
    """Whether a type is what Hugging Face stores images as."""
    types = require("pyarrow").types
    if not types.is_struct(type_) or {field.name for field in type_} != {"bytes", "path"}:
        return False
    kinds = {field.name: kind_of(field.type) for field in type_}
    return kinds == {"bytes": Kind("bytes"), "path": Kind("str")}
