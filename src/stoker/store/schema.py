"""The columns of a store: what their values are, and how Arrow holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stoker.errors import StoreError

KINDS = ("scalar", "tensor", "ragged", "bytes", "string", "json", "image", "pixels")
HOLDERS = ("", "number", "array", "tensor", "list")

DTYPES = {
    "bool": np.uint8, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "float16": np.float16, "bfloat16": np.uint16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
"""Each dtype's name, and the NumPy type that its bytes are carried as."""

_VARYING = ("ragged", "bytes", "string", "json", "image", "pixels")
_MAX_NAME = 200


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: unique within the store.
        kind: "scalar"; "tensor" (one shape for all rows); "ragged" (arrays of one number of dimensions); "bytes";
            "string"; "json" (any JSON value); "image" (the bytes of an image file); "pixels" (uint8 [height, width, 3]).
        dtype: of scalars and arrays, a key of `DTYPES`; else "".
        shape: of a row of a tensor; else ().
        num_dims: of a ragged array's rows; else 0.
        holder: what a sample held: "number" (Python's own), "array" (NumPy), "tensor" (torch), "list" (of numbers).
        in_sample: False for what the store knows of a sample beside it, as its name.
    """

    name: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    num_dims: int = 0
    holder: str = ""
    in_sample: bool = True

    @cached_property
    def carrier(self) -> np.dtype[Any]:
        """The NumPy type of its values' bytes."""
        return np.dtype(DTYPES.get(self.dtype, np.uint8))

    @property
    def is_varying(self) -> bool:
        """Whether its rows differ in length."""
        return self.kind in _VARYING

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row of a scalar or tensor column."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.carrier.itemsize

    @property
    def stores_shape(self) -> bool:
        """Whether each row's shape is stored beside its values."""
        return self.kind == "pixels" or (self.kind == "ragged" and self.num_dims > 1)

    @property
    def num_shape_dims(self) -> int:
        """Numbers in a row's stored shape."""
        return 3 if self.kind == "pixels" else self.num_dims

    @property
    def num_buffers(self) -> int:
        """Buffers of the column in each row group: offsets and values where rows vary, and shapes where they are stored."""
        return 1 + self.is_varying + self.stores_shape

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it: what is at its default is left out."""
        optional = {
            "dtype": self.dtype,
            "shape": list(self.shape) if self.kind == "tensor" else None,
            "num_dims": self.num_dims,
            "holder": self.holder,
            "in_sample": None if self.in_sample else False,
        }
        kept = {key: value for key, value in optional.items() if value not in (None, "", 0) or value is False}
        return {"name": self.name, "kind": self.kind, **kept}

    @staticmethod
    def from_json(value: Any) -> Column:
        """Raises StoreError for what is no column."""
        try:
            shape = tuple(_checked_int(side, 0, 1 << 40) for side in value.get("shape", ()))
            column = Column(
                str(value["name"]), value["kind"], value.get("dtype", ""), shape,
                _checked_int(value.get("num_dims", 0), 0, 32), value.get("holder", ""), bool(value.get("in_sample", True)),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"a column of the manifest is damaged: {error!r}") from error
        numeric = column.kind in ("scalar", "tensor", "ragged")
        if (
            column.kind not in KINDS
            or column.holder not in HOLDERS
            or numeric != (column.dtype in DTYPES)
            or (column.kind == "ragged") != (column.num_dims > 0)
            or not 0 < len(column.name) <= _MAX_NAME
            or not 0 < column.row_bytes <= 1 << 40  # Arrow has no lists of fixed size 0: such rows are ragged
        ):
            raise StoreError(f"a column of the manifest breaks the format's rules: {value!r}")
        return column


def _checked_int(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number in [{least}, {most}]")
    return value


@dataclass(frozen=True)
class Schema:
    """The columns in order, and how a sample is put together from them.

    `sample` is a JSON tree: {"column": name}, {"tuple": [...]}, {"list": [...]}, or {"dict": {key: ...}}.
    """

    columns: tuple[Column, ...]
    sample: Any

    @cached_property
    def sample_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.in_sample)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def first_buffer(self, name: str) -> int:
        """The number of a column's first buffer among those of a row group."""
        number = 0
        for column in self.columns:
            if column.name == name:
                return number
            number += column.num_buffers
        raise KeyError(name)

    @property
    def num_buffers(self) -> int:
        return sum(column.num_buffers for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        return {"columns": [column.to_json() for column in self.columns], "sample": self.sample}

    @staticmethod
    def from_json(columns: Any, sample: Any) -> Schema:
        """Raises StoreError for what is no schema."""
        if not isinstance(columns, list) or not columns:
            raise StoreError("the manifest names no columns.")
        known = tuple(map(Column.from_json, columns))
        names = [column.name for column in known]
        if len(set(names)) != len(names):
            raise StoreError(f"the manifest names a column twice: {', '.join(names)}.")
        used = list(_named(sample, 0))
        if sorted(used) != sorted(column.name for column in known if column.in_sample):
            raise StoreError("the manifest's sample is not made of its columns.")
        return Schema(known, sample)


def _named(sample: Any, depth: int) -> Sequence[str]:
    """The columns that a sample's tree names."""
    if depth > 32 or not isinstance(sample, dict) or len(sample) != 1:
        raise StoreError(f"the manifest's sample is damaged: {sample!r}")
    ((kind, inner),) = sample.items()
    if kind == "column" and isinstance(inner, str):
        return [inner]
    if kind in ("tuple", "list") and isinstance(inner, list):
        parts = inner
    elif kind == "dict" and isinstance(inner, dict):
        parts = list(inner.values())
    else:
        raise StoreError(f"the manifest's sample is damaged: {sample!r}")
    return [name for part in parts for name in _named(part, depth + 1)]
