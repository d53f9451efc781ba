"""Sequence packing as arithmetic: which documents share a row of a given length. Knows lengths, and no tokens.

Two classic heuristics of bin packing (Johnson 1973). Best fit decreasing places the longest documents first, each into the
row that it fills best; it wastes least. First fit takes documents as they come, each into the first row that has room, so
that rows keep the order of the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.keys import derive
from stoker.order.permutation import Permutation

_PACKS = 0x5041434B  # the domain of the keys that documents are shuffled by


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How documents are put into rows.

    Attributes:
        max_length: the length of a row.
        method: "best_fit" (decreasing) or "first_fit".
        overlong: what becomes of documents longer than a row: "raise"; "truncate" keeps their beginning; "split" cuts
            them into pieces of a row's length and a rest, each a document of its own to attention.
    """

    max_length: int
    method: str = "best_fit"
    overlong: str = "raise"

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ArgumentError(f"max_length must be at least 1; got {self.max_length}.")
        if self.method not in ("best_fit", "first_fit"):
            raise ArgumentError(f"method must be 'best_fit' or 'first_fit'; got {self.method!r}.")
        if self.overlong not in ("raise", "truncate", "split"):
            raise ArgumentError(f"overlong must be 'raise', 'truncate' or 'split'; got {self.overlong!r}.")


@dataclass(frozen=True)
class Pieces:
    """Where each piece of a document goes; in the order of rows, and within a row of places. All int64 [pieces].

    Attributes:
        document: the number of the document.
        start: where the piece begins in its document.
        length: its tokens, at least one.
        row: where it goes; rows are numbered from 0.
        offset: where it begins in its row.
    """

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    row: NDArray[np.int64]
    offset: NDArray[np.int64]

    @property
    def num_rows(self) -> int:
        """Rows in all."""
        return int(self.row[-1]) + 1 if len(self.row) else 0

    def part(self, start: int, stop: int) -> Pieces:
        """Pieces ``[start, stop)``, their rows numbered from 0."""
        first = self.row[start : start + 1]
        parts = (values[start:stop] for values in (self.document, self.start, self.length, self.row, self.offset))
        document, begin, length, row, offset = parts
        return Pieces(document, begin, length, row - first, offset)


def plan(lengths: NDArray[np.int64], packing: Packing, window: int | None = None, seed: int | None = None) -> Pieces:
    """The rows of documents of these `lengths`; a pure function.

    Each `window` documents in a row are packed by themselves (all of them together if None), after they were shuffled
    by `seed` (not at all if None). Empty documents go nowhere. About a microsecond per document with "best_fit", and
    with "first_fit" a look at all rows of the window for each.

    Raises:
        ArgumentError: a length is negative, or a document is longer than a row and that is not allowed.
    """
    if window is not None and window < 1:
        raise ArgumentError(f"window must be at least 1 document; got {window}.")
    order = np.arange(len(lengths), dtype=np.int64)
    if seed is not None:
        order = Permutation(len(lengths), derive(seed, _PACKS))(order)
    document, start, length = _cut(order, lengths[order], packing)
    firsts = np.arange(0, len(lengths), window or max(1, len(lengths)))
    place = np.empty(len(lengths), np.int64)
    place[order] = np.arange(len(lengths))
    bounds = [*np.searchsorted(place[document], firsts).tolist(), len(document)]  # pieces of a document stand together
    row = np.empty(len(document), np.int64)
    num_rows = 0
    for begin, end in pairwise(bounds):
        found = _fit(length[begin:end], packing)
        row[begin:end] = found + num_rows
        num_rows += int(found.max(initial=-1)) + 1
    by_row = np.argsort(row, kind="stable")
    document, start, length, row = (values[by_row] for values in (document, start, length, row))
    return Pieces(document, start, length, row, _offsets(length, row))


def _cut(
    document: NDArray[np.int64], lengths: NDArray[np.int64], packing: Packing
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The pieces of documents: (document, start, length)."""
    longest = packing.max_length
    if lengths.min(initial=0) < 0:
        raise ArgumentError(f"lengths must be at least 0; got {lengths.min()}.")
    overlong = np.flatnonzero(lengths > longest)
    if overlong.size and packing.overlong == "raise":
        which = overlong[np.argmin(document[overlong])]
        raise ArgumentError(
            f"document {document[which]} has {lengths[which]} tokens, more than max_length={longest} (as have "
            f"{overlong.size - 1} others); pass overlong='split' or 'truncate', or give a greater max_length."
        )
    if packing.overlong != "split":
        lengths = np.minimum(lengths, longest)
    counts = -(-lengths // longest)
    first = np.cumsum(counts) - counts
    start = (np.arange(counts.sum()) - np.repeat(first, counts)) * longest
    return np.repeat(document, counts), start, np.minimum(np.repeat(lengths, counts) - start, longest)


def _fit(lengths: NDArray[np.int64], packing: Packing) -> NDArray[np.int64]:
    """The row of each piece."""
    if packing.method == "first_fit":
        return _first_fit(lengths, packing.max_length)
    order = np.argsort(-lengths, kind="stable")
    rows = np.empty(len(lengths), np.int64)
    rows[order] = _best_fit(lengths[order].tolist(), packing.max_length)
    return rows


def _best_fit(lengths: list[int], capacity: int) -> list[int]:
    """The row of each piece: of the rows that have room, the newest of those with least."""
    rows: list[int] = []
    with_room: dict[int, list[int]] = {}
    rooms = 0  # a bit for each room that some row has: the least that is enough is then the lowest bit of a shift
    num_rows = 0
    for length in lengths:
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, row = capacity, num_rows
            num_rows += 1
        left = room - length
        if left:
            with_room.setdefault(left, []).append(row)
            rooms |= 1 << left
        rows.append(row)
    return rows


def _first_fit(lengths: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    room = np.full(len(lengths), capacity, np.int64)
    rows = np.empty(len(lengths), np.int64)
    num_rows = 0
    for number, length in enumerate(lengths.tolist()):
        row = int(np.argmax(room[: num_rows + 1] >= length))  # the one after the last is empty
        num_rows = max(num_rows, row + 1)
        room[row] -= length
        rows[number] = row
    return rows


def _offsets(length: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each piece begins in its row; rows ascend."""
    begins = np.cumsum(length) - length
    is_first = np.ones(len(row), bool)
    is_first[1:] = row[1:] != row[:-1]
    return begins - np.maximum.accumulate(np.where(is_first, begins, 0))
