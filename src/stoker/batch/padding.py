"""Padding: sequences of different lengths as one tensor, and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from stoker.batch.fields import Column, Field, Fields, sequences
from stoker.errors import ArgumentError

Fill = float | Mapping[Field, float]
"""A number for all fields, or one for each field that is named; the others get 0."""

Extras = bool | Mapping[Field, str] | Collection[Field]
"""Which fields something is added for: all, none, those named; or a dict of the names that it gets."""


@dataclass(frozen=True, kw_only=True)
class pad:  # noqa: N801 - called like a function, as functools.partial is
    """A ``collate_fn`` that pads sequences to the longest of their batch; whatever else samples hold goes to ``default_collate``.

    Samples are sequences (tensors, arrays, lists of numbers; [length, ...], equal but for the length), or dicts, tuples or
    named tuples of sequences and other things. A padded field is a tensor [samples, padded length, ...] in memory of its
    own. Deterministic, thread-safe, pickles.

    Attributes:
        fill: what padding holds. ``{"labels": -100}`` gives a field a value of its own.
        max_length: the greatest length that there may be; longer samples are an error, or cut with `truncate`.
        multiple: the padded length is a multiple of this. ``multiple=max_length`` gives all batches one shape.
        truncate: "end" or "start", the side that is cut off from what is longer than `max_length`.
        side: "right" or "left", where padding goes.
        fields: the fields to pad; every field of sequences if not given.
        lengths: adds the lengths before padding, int64 [samples], as ``NAME_lengths``. True, the fields to add it for, or
            a dict of the names that it gets: ``{"input_ids": "length"}``.
        masks: likewise, bool [samples, padded length], True where there is data, as ``NAME_mask``.

    What is added to dicts has its names; after tuples and single values it follows in order, lengths first; a named tuple
    becomes a dict.

    Raises:
        ArgumentError: here, an argument breaks a rule; in a batch, there is no such field, samples differ in more than
            their first dimension, one is too long, or a dtype cannot hold the fill value.
        TypeMismatchError: a field is a sequence in some samples only.
    """

    fill: Fill = 0
    max_length: int | None = None
    multiple: int = 1
    truncate: str | None = None
    side: str = "right"
    fields: Collection[Field] | None = None
    lengths: Extras = False
    masks: Extras = False

    draws_randomness: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise ArgumentError(f"multiple must be at least 1; got {self.multiple}.")
        if self.max_length is not None and (self.max_length < 1 or self.max_length % self.multiple):
            raise ArgumentError(
                f"max_length must be at least 1, and a multiple of `multiple`; got {self.max_length} and {self.multiple}."
            )
        if self.truncate not in (None, "end", "start"):
            raise ArgumentError(f"truncate must be 'end', 'start' or None; got {self.truncate!r}.")
        if self.truncate is not None and self.max_length is None:
            raise ArgumentError("truncate needs max_length, the length to cut to.")
        check_side(self.side)
        for argument in ("fields", "lengths", "masks"):
            if isinstance(getattr(self, argument), str):
                raise ArgumentError(f"{argument} must be a collection of fields, such as ['x']; got a str.")

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch."""
        fields = Fields.of(samples)
        columns = {column.name: self._cut(column) for column in sequences(fields, self.fields)}
        fills = fill_values(fields, self.fill)
        lengths, masks = (added(fields, columns, getattr(self, name), name) for name in ("lengths", "masks"))
        padded = {name: self._padded(column, fills.get(name, 0)) for name, column in columns.items()}
        values = {
            name: padded[name] if name in padded else default_collate(column) for name, column in fields.columns.items()
        }
        extras = {new: torch.from_numpy(columns[name].lengths) for name, new in lengths.items()}
        extras |= {new: self._mask(columns[name].lengths, padded[name].shape[1]) for name, new in masks.items()}
        return fields.assemble(values, extras)

    def _cut(self, column: Column) -> Column:
        longest = self.max_length
        if longest is None or max(map(len, column.arrays)) <= longest:
            return column
        if self.truncate is None:
            number, array = next((n, array) for n, array in enumerate(column.arrays) if len(array) > longest)
            raise ArgumentError(
                f"field {column.name}: sample {number} of the batch has the length {len(array)}, more than "
                f"max_length={longest}; cut it with truncate='end' or 'start', or give a greater max_length."
            )
        part = slice(longest) if self.truncate == "end" else slice(-longest, None)
        return Column(column.name, column.dtype, [array[part] for array in column.arrays])

    def _padded(self, column: Column, fill: float) -> torch.Tensor:
        longest = max(map(len, column.arrays))
        length = -(-max(longest, self.multiple > 1) // self.multiple) * self.multiple
        tensor, rows = column.full(len(column.arrays), length, *column.inner, fill=fill)
        for row, array in zip(rows, column.arrays, strict=True):
            if self.side == "right":
                row[: len(array)] = array
            else:
                row[length - len(array) :] = array
        return tensor

    def _mask(self, lengths: NDArray[np.int64], length: int) -> torch.Tensor:
        places = np.arange(length)
        ends = lengths[:, None]
        return torch.from_numpy(places < ends if self.side == "right" else places >= length - ends)


def unpad(padded: torch.Tensor, lengths: torch.Tensor | Iterable[int], side: str = "right") -> list[torch.Tensor]:
    """The sequences in `padded` [samples, padded length, ...], without the padding; views of it.

    Raises:
        ArgumentError: there is not one length for each sample, or one is out of range.
    """
    check_side(side)
    known = lengths.tolist() if isinstance(lengths, torch.Tensor) else list(lengths)
    if len(known) != len(padded):
        raise ArgumentError(f"unpad needs a length for each of {len(padded)} samples; got {len(known)}.")
    length = padded.shape[1]
    if known and not 0 <= min(known) <= max(known) <= length:
        raise ArgumentError(f"lengths must be in [0, {length}]; got {min(known)} to {max(known)}.")
    return [row[:own] if side == "right" else row[length - own :] for row, own in zip(padded, known, strict=True)]


def check_side(side: str) -> None:
    """Raises ArgumentError unless it is one."""
    if side not in ("right", "left"):
        raise ArgumentError(f"side must be 'right' or 'left'; got {side!r}.")


def fill_values(fields: Fields, fill: Fill) -> Mapping[Field, float]:
    """The fill value of each field; fields that are left out get 0. Raises ArgumentError where there is no such field."""
    if not isinstance(fill, Mapping):
        return dict.fromkeys(fields.columns, fill)
    fields.check(fill, "fill")
    return fill


def added(fields: Fields, columns: Collection[Field], asked: Extras, suffix: str) -> dict[Field, str]:
    """The fields that something is added for, and what that is called. Raises ArgumentError where they are not in `columns`."""
    if isinstance(asked, bool):
        asked = list(columns) if asked else ()
    fields.check(asked, suffix)
    unpadded = [name for name in asked if name not in columns]
    if unpadded:
        raise ArgumentError(f"{suffix} names {unpadded[0]}, which is not padded.")
    if isinstance(asked, Mapping):
        return dict(asked)
    return {name: f"{name}_{'mask' if suffix == 'masks' else suffix}" for name in asked}
