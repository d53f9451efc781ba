"""The fields of samples: what a collate function takes a list of samples apart into, and puts a batch together from.

A sample is a dict, a tuple, a named tuple, or a single value. The fields of a dict and of a named tuple have names, those
of a tuple are numbered. A list of numbers is a value; a list of anything else is a tuple.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.batch.carriers import carrier_of
from stoker.errors import ArgumentError, TypeMismatchError

Field = str | int
"""A field's name in a dict or named tuple, or its number in a tuple."""

_ONLY: Field = 0
"""What the one field of a sample that is a single value is called inside."""


@dataclass(frozen=True)
class Fields:
    """A batch as columns: `columns` has one list for each field, a value for each sample; `kind` is the samples' type."""

    kind: Any
    columns: dict[Field, list[Any]]

    @staticmethod
    def of(samples: Sequence[Any]) -> Fields:
        """Takes samples apart.

        Raises:
            ArgumentError: there are none, or they have different fields.
        """
        if not len(samples):
            raise ArgumentError("a batch needs at least one sample; got none.")
        first = _named(samples[0])
        if first is None:
            return Fields(None, {_ONLY: list(samples)})
        columns: dict[Field, list[Any]] = {name: [] for name in first}
        for number, sample in enumerate(samples):
            named = _named(sample)
            if named is None or named.keys() != columns.keys():
                got = type(sample).__name__ if named is None else _listed(named)
                raise ArgumentError(
                    f"all samples of a batch must have the same fields; sample 0 has {_listed(columns)}, sample {number}: {got}."
                )
            for name, values in columns.items():
                values.append(named[name])
        return Fields(type(samples[0]), columns)

    @property
    def is_single(self) -> bool:
        """Whether samples are single values."""
        return self.kind is None

    @property
    def is_mapping(self) -> bool:
        """Whether samples are dicts."""
        return not self.is_single and issubclass(self.kind, Mapping)

    def check(self, names: Collection[Field], argument: str) -> None:
        """Raises ArgumentError where one of `names`, given as `argument`, is no field."""
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            has = (
                "are single values, whose field is 0" if self.is_single else f"have the fields {_listed(self.columns)}"
            )
            raise ArgumentError(f"{argument} names {_listed(unknown)}, but samples {has}.")

    def assemble(self, values: Mapping[Field, Any], extras: Mapping[str, Any]) -> Any:
        """A batch of the samples' structure, as torch's ``default_collate`` has it (a tuple becomes a list), with `extras`.

        In a dict extras have names, after a tuple they follow in order; a named tuple has no place for them, and becomes
        a dict where there are any.

        Raises:
            ArgumentError: an extra has the name of a field.
        """
        is_named = not self.is_single and not self.is_mapping and hasattr(self.kind, "_fields")
        if self.is_mapping or (is_named and extras):
            taken = values.keys() & extras.keys()
            if taken:
                raise ArgumentError(f"samples have a field {_listed(taken)} already; give the new one another name.")
            return {**values, **extras}
        if is_named:
            return self.kind(*values.values())
        parts = [*values.values(), *extras.values()]
        return parts[0] if self.is_single and not extras else parts


def _named(sample: Any) -> Mapping[Field, Any] | None:
    """The fields of a sample by name; None where it is a single value."""
    if isinstance(sample, Mapping):
        return sample
    if isinstance(sample, tuple):
        return dict(zip(getattr(sample, "_fields", range(len(sample))), sample, strict=True))
    if isinstance(sample, list) and sample and not isinstance(sample[0], Number | list | str):
        return dict(enumerate(sample))
    return None


def _listed(names: Collection[Any]) -> str:
    return ", ".join(map(str, names)) or "none"


@dataclass(frozen=True)
class Column:
    """A field of sequences: `arrays` has one for each sample, [length, ...], equal but for their lengths.

    Arrays are views of what the samples hold, where that needs no conversion. For a torch dtype that NumPy lacks they
    hold its bytes, in its carrier.
    """

    name: Field
    dtype: torch.dtype
    arrays: list[NDArray[Any]]

    @staticmethod
    def of(name: Field, values: Sequence[torch.Tensor | NDArray[Any]], ragged_dims: Collection[int] = (0,)) -> Column:
        """Values of one dtype and of one shape but for `ragged_dims`, as they are: numbers of different dtypes are promoted.

        Raises:
            ArgumentError: they differ in another dimension.
        """
        shapes = [[size for dim, size in enumerate(value.shape) if dim not in ragged_dims] for value in values]
        other = next((number for number, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            first, second = (list(values[number].shape) for number in (0, other))
            raise ArgumentError(_ragged(name, f"sample 0 has the shape {first}, sample {other} {second}", ragged_dims))
        told = [value for value in values if value.shape[0]] or list(values)  # an empty list does not say of what it is
        dtype = reduce(torch.promote_types, {_dtype_of(value) for value in told})
        return Column(name, dtype, [_array(value, dtype) for value in values])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [samples]."""
        return np.fromiter(map(len, self.arrays), np.int64, len(self.arrays))

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of one element of a sequence."""
        return self.arrays[0].shape[1:]

    def empty(self, *shape: int) -> tuple[torch.Tensor, NDArray[Any]]:
        """A new tensor of the column's dtype, and its memory as an array; holds anything."""
        tensor = torch.empty(shape, dtype=self.dtype)
        return tensor, _memory_of(tensor)

    def full(self, *shape: int, fill: float) -> tuple[torch.Tensor, NDArray[Any]]:
        """As `empty`, full of `fill`. Raises ArgumentError where the dtype cannot hold that."""
        self._check_fill(fill)
        tensor = torch.full(shape, fill, dtype=self.dtype)
        return tensor, _memory_of(tensor)

    def _check_fill(self, fill: float) -> None:
        try:
            held = torch.tensor(fill).to(self.dtype) if isinstance(fill, bool) else torch.tensor(fill, dtype=self.dtype)
            exact = self.dtype.is_floating_point or self.dtype.is_complex or held.item() == fill
        except (RuntimeError, ValueError, OverflowError, TypeError):
            exact = False
        if not exact:
            raise ArgumentError(f"field {self.name}: {self.dtype} cannot hold the fill value {fill!r}; give another.")


def sequences(fields: Fields, names: Collection[Field] | None) -> list[Column]:
    """The fields `names` as columns; those of sequences where None.

    Raises:
        ArgumentError: no such field, one that is no sequence, or sequences that differ in more than their length.
    """
    if names is not None:
        fields.check(names, "fields")
    columns: list[Column] = []
    for name, values in fields.columns.items():
        if names is not None and name not in names:
            continue
        arrays = [_sequence(name, number, value) for number, value in enumerate(values)]
        found = [array for array in arrays if array is not None]
        if len(found) == len(arrays):
            columns.append(Column.of(name, found))
        elif found or names is not None:
            number = next(number for number, array in enumerate(arrays) if array is None)
            raise TypeMismatchError(
                f"field {name} must hold a sequence (an array or a list of numbers) in each sample of a batch; "
                f"sample {number} has {_kind(values[number])}."
            )
    return columns


def _sequence(name: Field, number: int, value: Any) -> torch.Tensor | NDArray[Any] | None:
    """A value as an array of one dimension at least; None where it is something else."""
    if isinstance(value, torch.Tensor):
        plain = value.layout is torch.strided and not value.is_nested
        if not plain or not value.ndim:
            return None
        return value.detach() if value.requires_grad else value
    if isinstance(value, np.ndarray):
        return value if value.ndim and value.dtype.kind in "biufc" else None
    if not isinstance(value, list) or (value and not isinstance(value[0], Number | list)):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists in it differ in length
        raise ArgumentError(_ragged(name, f"sample {number} is a list of lists of different lengths")) from None
    if array.dtype.kind == "f":
        return torch.from_numpy(array).to(torch.get_default_dtype())  # what torch.tensor makes of a list
    return array if array.dtype.kind in "biuc" else None


def _ragged(name: Field, what: str, ragged_dims: Collection[int] = (0,)) -> str:
    dims = " and ".join(map(str, ragged_dims))
    return f"field {name}: samples may differ in their dimension {dims} alone; {what}."


def _dtype_of(value: torch.Tensor | NDArray[Any]) -> torch.dtype:
    if isinstance(value, torch.Tensor):
        return value.dtype
    return torch.from_numpy(np.empty(0, value.dtype.newbyteorder("="))).dtype


def _array(value: torch.Tensor | NDArray[Any], dtype: torch.dtype) -> NDArray[Any]:
    """The value's memory as an array, converted to `dtype` first where it has another."""
    if isinstance(value, torch.Tensor):
        return _memory_of(value if value.dtype is dtype else value.to(dtype))
    if _dtype_of(value) is dtype:
        return value
    return _memory_of(torch.from_numpy(np.array(value, value.dtype.newbyteorder("="))).to(dtype))


def _memory_of(tensor: torch.Tensor) -> NDArray[Any]:
    try:
        return tensor.numpy()
    except TypeError:  # no NumPy counterpart (bfloat16 …, a device): its bytes as integers of the same width
        carrier = torch.from_numpy(np.empty(0, carrier_of(tensor.dtype))).dtype
        return tensor.cpu().contiguous().view(carrier).numpy()


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{type(value).__name__} {value.dtype} {list(value.shape)}"
    return type(value).__name__
