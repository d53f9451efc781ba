"""Packed sequences: several documents in one row, told apart by ids, so that attention stays within a document."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.batch.fields import Column, Field, Fields, sequences
from stoker.batch.fitting import Packing, Pieces, plan
from stoker.batch.padding import Fill, fill_values
from stoker.errors import ArgumentError, TypeMismatchError

NO_DOCUMENT = -1
"""The document id of padding."""


@dataclass(frozen=True)
class Documents:
    """Documents taken apart: columns of equal lengths by name, and the fill value of each."""

    columns: dict[str, Column]
    fills: dict[str, float]
    lengths: NDArray[np.int64]

    @staticmethod
    def of(samples: Sequence[Any], names: Collection[Field] | None, fill: Fill, numbers: Sequence[int]) -> Documents:
        """Takes `samples` apart; `numbers` are what errors call them.

        Raises:
            ArgumentError: there is no such field, or fields of one document differ in length.
            TypeMismatchError: a field is no sequence; says how to leave it out.
        """
        fields = Fields.of(samples)
        found = {column.name: column for column in sequences(fields, names)}
        left_out = [] if names is not None else [name for name in fields.columns if name not in found]
        if left_out or not found:
            raise TypeMismatchError(
                f"only sequences can be packed, and field {(left_out or ['?'])[0]} holds none; "
                "name the fields to pack: fields=[...]. The others are left out."
            )
        lengths = next(iter(found.values())).lengths
        for name, column in found.items():
            unequal = np.flatnonzero(column.lengths != lengths)
            if unequal.size:
                raise ArgumentError(
                    f"all fields of a document must have one length; in document {numbers[unequal[0]]} field {name} has "
                    f"{column.lengths[unequal[0]]}, field {next(iter(found))} {lengths[unequal[0]]}."
                )
        fills = fill_values(fields, fill)
        called = {name: "tokens" if fields.is_single else str(name) for name in found}
        columns = {called[name]: column for name, column in found.items()}
        return Documents(columns, {called[name]: fills.get(name, 0) for name in found}, lengths)


def fill_rows(
    documents: Documents, pieces: Pieces, numbers: NDArray[np.int64], num_rows: int, length: int
) -> dict[str, torch.Tensor]:
    """The rows of `pieces`, [rows, length, ...] for each field, with ``document_ids`` and ``position_ids``, int64 [rows, length].

    `numbers` holds the id of each document.

    Raises:
        ArgumentError: a field is called like one of those, or a dtype cannot hold its fill value.
    """
    batch: dict[str, torch.Tensor] = {}
    places = list(zip(*(values.tolist() for values in (pieces.document, pieces.start, pieces.length)), strict=True))
    begins = pieces.row * length + pieces.offset
    for name, column in documents.columns.items():
        if name in ("document_ids", "position_ids"):
            raise ArgumentError(f"documents have a field {name} already, which packing adds; give it another name.")
        tensor, flat = column.full(num_rows * length, *column.inner, fill=documents.fills[name])
        for begin, (document, start, size) in zip(begins.tolist(), places, strict=True):
            flat[begin : begin + size] = column.arrays[document][start : start + size]
        batch[name] = tensor.view(num_rows, length, *tensor.shape[1:])
    firsts = np.cumsum(pieces.length) - pieces.length
    within = np.arange(pieces.length.sum()) - np.repeat(firsts, pieces.length)
    flat_places = np.repeat(begins, pieces.length) + within
    ids, positions = np.full(num_rows * length, NO_DOCUMENT), np.zeros(num_rows * length, np.int64)
    ids[flat_places] = np.repeat(numbers[pieces.document], pieces.length)
    positions[flat_places] = within
    batch["document_ids"] = torch.from_numpy(ids.reshape(num_rows, length))
    batch["position_ids"] = torch.from_numpy(positions.reshape(num_rows, length))
    return batch


@dataclass(frozen=True, kw_only=True)
class pack_sequences(Packing):  # noqa: N801 - called like a function, as functools.partial is
    """A ``collate_fn`` that packs the documents of a batch into as few rows of `max_length` as it finds.

    Documents are sequences [tokens, ...], or dicts, tuples or named tuples of sequences of one length (tokens, labels,
    a loss mask). A batch is a dict:

    =================  =================================  ===============================================================
    the fields         [rows, max_length, ...]            "tokens" where documents are single sequences, "0", "1" … of tuples
    ``document_ids``   int64 [rows, max_length]           the document's number in the batch; -1 at padding
    ``position_ids``   int64 [rows, max_length]           0, 1, 2 … in each piece of a document; 0 at padding
    ``cu_seqlens``     int32 [segments + 1]               boundaries for block-diagonal attention, as `cu_seqlens` says
    ``max_seqlen``     int                                the longest segment
    =================  =================================  ===============================================================

    How many rows there are depends on the documents: `stoker.data.PackedSequences` gives rows one by one instead, for
    batches of one shape. Within a row documents stand in the batch's order. Deterministic, thread-safe, pickles.

    Attributes:
        max_length: the length of a row.
        method: "best_fit" (decreasing), which wastes least, or "first_fit".
        overlong: "raise", "truncate" or "split": what becomes of documents longer than a row.
        fields: the fields to pack; the others are left out. All of them if not given.
        fill: what padding holds; ``{"labels": -100}`` gives a field a value of its own.

    Raises:
        ArgumentError: here, an argument breaks a rule; in a batch, there is no such field, fields of a document differ
            in length, one is too long, or a dtype cannot hold the fill value.
        TypeMismatchError: a field is no sequence.
    """

    fields: Collection[Field] | None = None
    fill: Fill = 0

    draws_randomness: ClassVar[bool] = False

    def __call__(self, samples: Sequence[Any]) -> dict[str, Any]:
        """The batch."""
        documents = Documents.of(samples, self.fields, self.fill, range(len(samples)))
        pieces = plan(documents.lengths, self)
        numbers = np.arange(len(samples), dtype=np.int64)
        batch = fill_rows(documents, pieces, numbers, pieces.num_rows, self.max_length)
        boundaries, longest = cu_seqlens(batch["document_ids"])
        return {**batch, "cu_seqlens": boundaries, "max_seqlen": longest}


def cu_seqlens(document_ids: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The boundaries between documents in `document_ids` [rows, length], laid end to end: what block-diagonal attention takes.

    Returns:
        int32 [segments + 1], from 0 to rows · length, and the length of the longest segment. Padding at a row's end is a
        segment of its own, so that segments cover every position: ``q.reshape(rows * length, heads, dim)`` goes with it.
    """
    rows, length = document_ids.shape
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    inner = begins.flatten().nonzero().flatten()
    boundaries = torch.cat([inner, inner.new_tensor([rows * length])]).int()
    return boundaries, int(boundaries.diff().max()) if rows * length else 0
