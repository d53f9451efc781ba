"""The columns of a store: what their values are, and how Arrow holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from stoker.errors import StoreError

KINDS = ("scalar", "tensor", "ragged", "bytes", "string", "json", "image", "pixels")

DTYPES = {
    "bool": np.uint8, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "float16": np.float16, "bfloat16": np.uint16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
"""Each dtype's name, and the NumPy type that its bytes are carried as."""

_VARYING = ("ragged", "bytes", "string", "json", "image", "pixels")
_MAX_NAME = 200
_MAX_DIMS = 32  # NumPy has 64, and batches add one
_HOLDERS_OF = {
    "scalar": ("number", "array", "tensor"), "tensor": ("array", "tensor"), "ragged": ("array", "tensor", "list")
}  # fmt: skip


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
        return math.prod(self.shape) * self.carrier.itemsize

    @property
    def stores_shape(self) -> bool:
        """Whether each row's shape is stored beside its values."""
        return self.kind == "pixels" or (self.kind == "ragged" and self.num_dims > 1)

    @property
    def num_shape_dims(self) -> int:
        """Numbers in a row's stored shape."""
        return 3 if self.kind == "pixels" else self.num_dims

    @property
    def arrow_names(self) -> tuple[str, ...]:
        """The fields of the Arrow schema that hold it."""
        return (self.name, f"{self.name}.shape") if self.stores_shape else (self.name,)

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
            shape = tuple(_checked_int(side, 1, 1 << 40) for side in value.get("shape", ()))
            name, kind, dtype, holder = (
                _checked_text(value.get(key, "")) for key in ("name", "kind", "dtype", "holder")
            )
            num_dims = _checked_int(value.get("num_dims", 0), 0, _MAX_DIMS)
            column = Column(name, kind, dtype, shape, num_dims, holder, value.get("in_sample", True) is not False)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"a column of the manifest is damaged: {error!r}") from error
        if not column.is_sound():
            raise StoreError(f"a column of the manifest breaks the format's rules: {_short(value)}")
        return column

    def is_sound(self) -> bool:
        """Whether it keeps the rules of the format that concern a column alone."""
        return (
            self.kind in KINDS
            and self.holder in _HOLDERS_OF.get(self.kind, ("",))
            and (self.dtype in DTYPES if self.kind in _HOLDERS_OF else not self.dtype)
            and (self.kind == "tensor") == (len(self.shape) > 0)
            and (self.kind == "ragged") == (self.num_dims > 0)
            and (self.holder != "list" or self.num_dims == 1)
            and len(self.shape) <= _MAX_DIMS
            and 0 < len(self.name) <= _MAX_NAME
            and 0 < self.row_bytes <= 1 << 40  # Arrow has no lists of fixed size 0: such rows are ragged
        )


def _checked_int(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number in [{least}, {most}]")
    return value


def _checked_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
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

    @cached_property
    def first_buffers(self) -> dict[str, int]:
        """The number of each column's first buffer among those of a row group."""
        ends = accumulate(column.num_buffers for column in self.columns)
        return {column.name: end - column.num_buffers for column, end in zip(self.columns, ends, strict=True)}

    @cached_property
    def num_buffers(self) -> int:
        return sum(column.num_buffers for column in self.columns)

    @cached_property
    def fixed_buffers(self) -> tuple[tuple[int, int, int], ...]:
        """The buffers whose size follows from the number of rows: their number, bytes of a row, bytes besides."""
        found = []
        for column in self.columns:
            first = self.first_buffers[column.name]
            found.append((first, 8, 8) if column.is_varying else (first, column.row_bytes, 0))
            if column.stores_shape:
                found.append((first + 2, 4 * column.num_shape_dims, 0))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {"columns": [column.to_json() for column in self.columns], "sample": self.sample}

    @staticmethod
    def from_json(columns: Any, sample: Any) -> Schema:
        """Raises StoreError for what is no schema."""
        if not isinstance(columns, list) or not columns:
            raise StoreError("the manifest names no columns.")
        known = tuple(map(Column.from_json, columns))
        names = [name for column in known for name in column.arrow_names]
        if len(set(names)) != len(names):
            raise StoreError(f"the manifest names a column twice: {', '.join(names)}.")
        used = list(_named(sample, 0))
        if sorted(used) != sorted(column.name for column in known if column.in_sample):
            raise StoreError("the manifest's sample is not made of its columns.")
        return Schema(known, sample)


def _named(sample: Any, depth: int) -> Sequence[str]:
    """The columns that a sample's tree names."""
    if depth > 32 or not isinstance(sample, dict) or len(sample) != 1:
        raise StoreError(f"the manifest's sample is damaged: {_short(sample)}")
    ((kind, inner),) = sample.items()
    if kind == "column" and isinstance(inner, str):
        return [inner]
    if kind in ("tuple", "list") and isinstance(inner, list):
        parts = inner
    elif kind == "dict" and isinstance(inner, dict):
        parts = list(inner.values())
    else:
        raise StoreError(f"the manifest's sample is damaged: {_short(sample)}")
    return [name for part in parts for name in _named(part, depth + 1)]


def _short(value: Any) -> str:
    """A value of the manifest's for an error, however large or deep it is."""
    try:
        text = repr(value)
    except RecursionError:
        return "it is nested too deeply"
    return text if len(text) <= 300 else f"{text[:300]} …"
