"""Ragged batches: sequences of different lengths end to end, without padding."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import default_collate

from stoker.batch.fields import Column, Field, Fields, sequences
from stoker.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences end to end: number i is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: [total length, ...].
        offsets: int64 [sequences + 1], from 0 to the total length.
    """

    values: torch.Tensor
    offsets: torch.Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> torch.Tensor:
        """Sequence `index`, a view. Raises IndexError."""
        number = range(len(self))[index]
        start, stop = self.offsets[number : number + 2].tolist()
        return self.values[start:stop]

    @property
    def lengths(self) -> torch.Tensor:
        """int64 [sequences]."""
        return self.offsets.diff()

    def unbind(self) -> tuple[torch.Tensor, ...]:
        """All sequences, views."""
        parts: tuple[torch.Tensor, ...] = self.values.split(self.lengths.tolist())
        return parts

    def to(self, device: torch.device | str | int, *, non_blocking: bool = False) -> Ragged:
        """On another device."""
        values, offsets = (part.to(device, non_blocking=non_blocking) for part in (self.values, self.offsets))
        return Ragged(values, offsets)

    def pin_memory(self) -> Ragged:
        """In page-locked memory; a loader with ``pin_memory=True`` calls it."""
        return Ragged(self.values.pin_memory(), self.offsets.pin_memory())

    def nested(self) -> torch.Tensor:
        """As torch's nested tensor of the jagged layout, [sequences, j, ...]; shares this one's memory."""
        lengths = self.lengths
        shortest, longest = (int(lengths.min()), int(lengths.max())) if len(self) else (0, 0)
        make: Any = torch.nested.nested_tensor_from_jagged
        result: torch.Tensor = make(self.values, self.offsets, min_seqlen=shortest, max_seqlen=longest)
        return result


@dataclass(frozen=True, kw_only=True)
class ragged:  # noqa: N801 - called like a function, as functools.partial is
    """A ``collate_fn`` that puts sequences end to end, as a `Ragged`; whatever else samples hold goes to ``default_collate``.

    Samples are as those of `stoker.batch.pad`. Deterministic, thread-safe, pickles.

    Attributes:
        fields: the fields to put together; every field of sequences if not given.
        nested: gives torch's nested tensors (jagged layout) in place of `Ragged`. Torch imports a good part of itself, which
            takes seconds, in each process that makes one; `Ragged.nested` makes it in the loop, without a copy.

    Raises:
        ArgumentError: there is no such field, or samples differ in more than their first dimension.
        TypeMismatchError: a field is a sequence in some samples only.
    """

    fields: Collection[Field] | None = None
    nested: bool = False

    draws_randomness: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.fields, str):
            raise ArgumentError("fields must be a collection of fields, such as ['x']; got a str.")

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch."""
        fields = Fields.of(samples)
        joined = {column.name: self._joined(column) for column in sequences(fields, self.fields)}
        values = {
            name: joined[name] if name in joined else default_collate(column) for name, column in fields.columns.items()
        }
        return fields.assemble(values, {})

    def _joined(self, column: Column) -> Ragged | torch.Tensor:
        offsets = np.zeros(len(column.arrays) + 1, np.int64)
        np.cumsum(column.lengths, out=offsets[1:])
        values, memory = column.empty(int(offsets[-1]), *column.inner)
        np.concatenate(column.arrays, out=memory)
        found = Ragged(values, torch.from_numpy(offsets))
        return found.nested() if self.nested else found
