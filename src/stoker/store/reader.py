"""Reading a store: from row numbers to memory. Everything that is read from a file is checked before it is followed."""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker._native import copy_spans, count_resident, load_bounds, read_ahead, read_spans
from stoker.errors import StoreError
from stoker.store.manifest import Manifest, RowGroup, read_manifest, shard_path
from stoker.store.mapped import MappedFile
from stoker.store.schema import Column

_MAX_GAP = 64 << 10
"""Bytes between two rows that are read with them, rather than in two requests."""
_LOOKS = 64
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Spans:
    """Where values stand in memory: `addresses` uint64 [n], `lengths` int64 [n], in bytes. The memory is the reader's."""

    addresses: NDArray[np.uint64]
    lengths: NDArray[np.int64]

    def copy(self) -> NDArray[np.uint8]:
        """The values behind each other in new memory. Lets other threads run."""
        target = np.empty(self.lengths.sum(), np.uint8)
        copy_spans(self.addresses, self.lengths, target.ctypes.data)
        return target


class Reader:
    """The rows of a store on a local disk, memory-mapped. Thread-safe. Pickles; opens its shards when they are first read.

    Args:
        root: the store's folder.
        check: whether each row group's checksum is compared when it is first read from.

    Raises:
        StoreError: the manifest, or later a shard, is damaged; names the file.
    """

    def __init__(self, root: str, *, check: bool = False) -> None:
        self.root = root
        self.check = check
        self.manifest: Manifest = read_manifest(root)
        self._index()

    def _index(self) -> None:
        shards = self.manifest.shards
        groups = [group for shard in shards for group in shard.groups]
        self._groups: list[RowGroup] = groups
        ends = np.cumsum([group.num_rows for group in groups], dtype=np.int64)
        self._starts: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), ends])
        self._ends_in_file: NDArray[np.int64] = np.array([g.offset + g.num_bytes for g in groups], np.int64)
        self._shard_of: NDArray[np.int64] = np.repeat(np.arange(len(shards)), [len(shard.groups) for shard in shards])
        self._buffers: NDArray[np.uint64] = np.array([group.buffers for group in groups], np.uint64)
        self._buffers = self._buffers.reshape(len(groups), self.manifest.schema.num_buffers)
        self._bases: NDArray[np.uint64] = np.zeros(len(shards), np.uint64)
        self._files: list[MappedFile | None] = [None] * len(shards)
        self._checked: NDArray[np.bool_] = np.full(len(groups), not self.check)
        self._lock = threading.Lock()
        self._in_memory, self._looked_s = False, -_LOOK_EVERY_S

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    def spans(self, column: Column, rows: NDArray[np.int64]) -> Spans:
        """Where the values of `column` stand in the rows `rows` (int64, each in ``[0, num_rows)``).

        Raises:
            StoreError: a shard is missing, of the wrong size, altered (with `check`), or says what cannot be.
            IndexError: a row is out of range.
        """
        return self._locate(column, *self._places(rows))

    def copy(self, column: Column, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The values of `column` behind each other in new memory, and where each begins, with the end: int64 [n + 1].

        From a store that is in memory they are copied. From another one they are read: preadv(2) costs less than the page
        faults of a mapping that is read for the first time, and a file that has become shorter is an error. Lets other
        threads run.

        Raises:
            StoreError, IndexError: as `spans`.
        """
        groups, within = self._places(rows)
        spans = self._locate(column, groups, within)
        bounds = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(spans.lengths, out=bounds[1:])
        return (spans.copy() if self._was_in_memory() else self._read(groups, spans, int(bounds[-1]))), bounds

    def _was_in_memory(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._in_memory, self._looked_s = self.is_in_memory(), now_s
        return self._in_memory

    def _read(self, groups: NDArray[np.int64], spans: Spans, num_bytes: int) -> NDArray[np.uint8]:
        shards, files = np.unique(self._shard_of[groups], return_inverse=True)
        offsets = (spans.addresses - self._bases[self._shard_of[groups]]).astype(np.int64)
        target = np.empty(num_bytes, np.uint8)
        paths = [os.fsencode(self.path_of(shard)) for shard in shards.tolist()]
        error, file, offset = read_spans(paths, files, offsets, spans.lengths, target.ctypes.data, _MAX_GAP)
        if error:
            why = "it ends there" if error < 0 else os.strerror(error)
            raise StoreError(f"cannot read the shard {os.fsdecode(paths[file])} from offset {offset:,} on: {why}.")
        return target

    def shapes(self, column: Column, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The stored shapes of a column that stores them: int32 [n, dimensions]. Their product is checked against the values' lengths."""
        groups, within = self._places(rows)
        number = self.manifest.schema.first_buffer(column.name) + column.num_buffers - 1
        row_bytes = 4 * column.num_shape_dims
        spans = Spans(self._address(groups, number, within, row_bytes), np.full(len(rows), row_bytes, np.int64))
        found: NDArray[np.int32] = spans.copy().view(np.int32).reshape(len(rows), column.num_shape_dims)
        lengths = self._locate(column, groups, within).lengths
        sizes = np.prod(found.astype(np.float64), axis=1) * column.carrier.itemsize  # floats do not wrap around
        wrong = (found < 0).any(axis=1) | (sizes != lengths)
        if column.kind == "pixels":
            wrong |= found[:, 2] != 3
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise self._damage(int(groups[bad]), f"row {int(rows[bad])} has another shape than its values")
        return found

    def _places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each row's group, and its number within it; the groups are open and, where asked for, checked."""
        if len(rows) and (rows.min() < 0 or rows.max() >= self.num_rows):
            raise IndexError(f"rows must be in [0, {self.num_rows}); got {int(rows.min())} to {int(rows.max())}")
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        self._open(groups)
        return groups, rows - self._starts[groups]

    def _locate(self, column: Column, groups: NDArray[np.int64], within: NDArray[np.int64]) -> Spans:
        first = self.manifest.schema.first_buffer(column.name)
        if not column.is_varying:
            lengths = np.full(len(groups), column.row_bytes, np.int64)
            return Spans(self._address(groups, first, within, column.row_bytes), lengths)
        bounds = np.empty((len(groups), 2), np.int64)
        load_bounds(self._address(groups, first, within, 8, extra=8), bounds.ctypes.data)
        item = column.carrier.itemsize
        starts, stops = bounds[:, 0], bounds[:, 1]
        limits = (self._ends_in_file[groups] - self._buffers[groups, first + 1].astype(np.int64)) // item
        wrong = (starts < 0) | (stops < starts) | (stops > limits)
        if wrong.any():
            bad = int(np.argmax(wrong))
            text = (
                f"the value of {column.name!r} in its row {int(within[bad])} is said to stand outside of the row group"
            )
            raise self._damage(int(groups[bad]), text)
        base = self._bases[self._shard_of[groups]] + self._buffers[groups, first + 1]
        return Spans(base + (starts * item).astype(np.uint64), (stops - starts) * item)

    def _address(
        self, groups: NDArray[np.int64], buffer: int, within: NDArray[np.int64], row_bytes: int, extra: int = 0
    ) -> NDArray[np.uint64]:
        """The address of a fixed-size value; `extra` bytes are read behind it."""
        starts = self._buffers[groups, buffer]
        ends = starts.astype(np.int64) + (within + 1) * row_bytes + extra
        beyond = ends > self._ends_in_file[groups]
        if beyond.any():
            bad = int(np.argmax(beyond))
            raise self._damage(
                int(groups[bad]), f"its row {int(within[bad])} is said to stand outside of the row group"
            )
        addresses: NDArray[np.uint64] = (
            self._bases[self._shard_of[groups]] + starts + (within * row_bytes).astype(np.uint64)
        )
        return addresses

    # Files

    def _open(self, groups: NDArray[np.int64]) -> None:
        if not len(groups):
            return
        shards = self._shard_of[groups]
        if not self._bases[shards].all():
            for shard in np.unique(shards).tolist():
                self._map(shard)
        if not self._checked[groups].all():
            for group in np.unique(groups).tolist():
                self._check(group)

    def _map(self, number: int) -> None:
        with self._lock:
            if self._files[number] is None:
                shard = self.manifest.shards[number]
                file = MappedFile(shard_path(self.root, shard), shard.num_bytes)
                self._files[number] = file
                self._bases[number] = file.address

    def _check(self, group: int) -> None:
        if self._checked[group]:
            return
        self.verify_group(group)
        self._checked[group] = True

    def verify_group(self, group: int) -> None:
        """Raises StoreError where a row group does not match its checksum; names file, offset and rows."""
        entry, shard = self._groups[group], int(self._shard_of[group])
        self._map(shard)
        address = np.array([int(self._bases[shard]) + entry.offset], np.uint64)
        data = Spans(address, np.array([entry.num_bytes], np.int64)).copy()
        if f"{zlib.crc32(data.data):08x}" != entry.crc32:
            raise self._damage(group, "it does not match its checksum")

    def _damage(self, group: int, what: str) -> StoreError:
        entry = self._groups[group]
        first = int(self._starts[group])
        return StoreError(
            f"the row group at offset {entry.offset:,} of {self.path_of(int(self._shard_of[group]))} "
            f"(rows {first:,} to {first + entry.num_rows - 1:,}) is damaged: {what}. Copy the file again, or pack the store anew."
        )

    def path_of(self, shard: int) -> str:
        """The path of a shard."""
        return os.path.join(self.root, self.manifest.shards[shard].name)

    def groups_of(self, shard: int) -> Iterable[int]:
        """The numbers of a shard's row groups."""
        return np.flatnonzero(self._shard_of == shard).tolist()

    def read_ahead(self, columns: Iterable[Column], rows: NDArray[np.int64]) -> int:
        """Tells the kernel that these rows will be read soon; it reads them in the background, near ones in one request.

        Where a varying value stands is read first, from its row group's offsets. Returns the number of requests.
        """
        groups, within = self._places(rows)
        found = [self._locate(column, groups, within) for column in columns]
        addresses = np.concatenate([spans.addresses for spans in found])
        lengths = np.concatenate([spans.lengths for spans in found])
        return read_ahead(addresses, lengths, _MAX_GAP)

    def is_in_memory(self) -> bool:
        """Whether places spread over the store are all in the page cache."""
        groups = np.unique(np.linspace(0, len(self._groups) - 1, min(_LOOKS, len(self._groups))).astype(np.int64))
        addresses = []
        for number, group in enumerate(groups.tolist()):
            entry, shard = self._groups[group], int(self._shard_of[group])
            try:
                self._map(shard)
            except StoreError:  # whoever asks for its rows will hear it
                return False
            inside = (
                entry.num_bytes * number // len(groups)
            )  # not always a group's beginning, which may have been read for its offsets
            addresses.append(int(self._bases[shard]) + entry.offset + inside)
        return count_resident(np.array(addresses, np.uint64)) == len(addresses)

    def __getstate__(self) -> tuple[str, bool, Manifest]:
        return self.root, self.check, self.manifest  # a store that grows meanwhile is the same one to every worker

    def __setstate__(self, state: tuple[str, bool, Manifest]) -> None:
        self.root, self.check, self.manifest = state
        self._index()
