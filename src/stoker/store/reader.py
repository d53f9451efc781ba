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
class Places:
    """Where rows are: their row groups, and their numbers within those; int64 [n] each."""

    groups: NDArray[np.int64]
    within: NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Where values stand in memory: `addresses` uint64 [n], `lengths` int64 [n], in bytes. The memory is the reader's."""

    addresses: NDArray[np.uint64]
    lengths: NDArray[np.int64]


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
        # By row group: its first row, and one behind the last; where it ends in its file; its shard; its buffers' places in that; the
        # address of that; whether it is mapped and, where asked for, checked.
        ends = np.cumsum([group.num_rows for group in groups], dtype=np.int64)
        self._starts: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), ends])
        self._ends_in_file: NDArray[np.int64] = np.array([g.offset + g.num_bytes for g in groups], np.int64)
        self._shard_of: NDArray[np.int64] = np.repeat(np.arange(len(shards)), [len(shard.groups) for shard in shards])
        buffers = np.array([group.buffers for group in groups], np.uint64)
        self._buffers: NDArray[np.uint64] = buffers.reshape(len(groups), self.manifest.schema.num_buffers)
        self._bases: NDArray[np.uint64] = np.zeros(len(groups), np.uint64)
        self._is_ready: NDArray[np.bool_] = np.zeros(len(groups), np.bool_)
        self._files: list[MappedFile | None] = [None] * len(shards)
        self._lock = threading.Lock()
        self._in_memory, self._looked_s = False, -_LOOK_EVERY_S

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    def find(self, rows: NDArray[np.int64]) -> Places:
        """Where rows (int64 [n], each in ``[0, num_rows)``) are; the shards of them are mapped and, where asked for, checked.

        Raises:
            StoreError: a shard is missing, of the wrong size, or altered (with `check`).
            IndexError: a row is out of range.
        """
        if len(rows) and rows.view(np.uint64).max() >= self.num_rows:  # below 0 is above as well, seen without the sign
            raise IndexError(f"rows must be in [0, {self.num_rows}); got {int(rows.min())} to {int(rows.max())}")
        groups = self._starts.searchsorted(rows, side="right") - 1
        if not self._is_ready[groups].all():
            for group in np.unique(groups).tolist():
                self._make_ready(group)
        return Places(groups, rows - self._starts[groups])

    def spans(self, column: Column, places: Places) -> Spans:
        """Where the values of `column` stand.

        Raises:
            StoreError: the shard says what cannot be.
        """
        first = self.manifest.schema.first_buffers[column.name]
        if not column.is_varying:
            return self._fixed(first, places, column.row_bytes)
        bounds = np.empty((len(places.groups), 2), np.int64)
        load_bounds(self._fixed(first, places, 8).addresses, bounds.ctypes.data)
        item = column.carrier.itemsize
        starts, stops = bounds[:, 0], bounds[:, 1]
        buffers = self._buffers[places.groups, first + 1]
        limits = (self._ends_in_file[places.groups] - buffers.astype(np.int64)) // item
        wrong = (starts < 0) | (stops < starts) | (stops > limits)
        if wrong.any():
            bad = int(np.argmax(wrong))
            row = int(places.within[bad])
            text = f"the value of {column.name!r} in its row {row} is said to stand outside of the row group"
            raise self._damage(int(places.groups[bad]), text)
        return Spans(self._bases[places.groups] + buffers + (starts * item).astype(np.uint64), (stops - starts) * item)

    def _fixed(self, buffer: int, places: Places, row_bytes: int) -> Spans:
        """Values of one size. None stands outside of its row group: the manifest is refused when it says so."""
        offsets = (places.within * row_bytes).view(np.uint64)
        addresses = self._bases[places.groups] + self._buffers[places.groups, buffer] + offsets
        return Spans(addresses, np.full(len(offsets), row_bytes, np.int64))

    def copy(self, column: Column, places: Places) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The values of `column` behind each other in new memory, and where each begins, with the end: int64 [n + 1].

        From a store that is in memory they are copied. From another one they are read: preadv(2) costs less than the page
        faults of a mapping that is read for the first time, and a file that has become shorter is an error. Lets other
        threads run.

        Raises:
            StoreError: as `spans`; or a shard cannot be read.
        """
        spans = self.spans(column, places)
        bounds = np.zeros(len(spans.lengths) + 1, np.int64)
        spans.lengths.cumsum(out=bounds[1:])
        target = np.empty(bounds[-1], np.uint8)
        if self._was_in_memory():
            copy_spans(spans.addresses, spans.lengths, target.ctypes.data)
        else:
            self._read(places, spans, target)
        return target, bounds

    def _was_in_memory(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._in_memory, self._looked_s = self.is_in_memory(), now_s
        return self._in_memory

    def _read(self, places: Places, spans: Spans, target: NDArray[np.uint8]) -> None:
        shards, files = np.unique(self._shard_of[places.groups], return_inverse=True)
        offsets = (spans.addresses - self._bases[places.groups]).view(np.int64)
        paths = [os.fsencode(self.path_of(shard)) for shard in shards.tolist()]
        error, file, offset = read_spans(paths, files, offsets, spans.lengths, target.ctypes.data, _MAX_GAP)
        if error:
            why = "it ends there" if error < 0 else os.strerror(error)
            raise StoreError(f"cannot read the shard {os.fsdecode(paths[file])} from offset {offset:,} on: {why}.")

    def shapes(self, column: Column, places: Places) -> NDArray[np.int32]:
        """The stored shapes of a column that stores them: int32 [n, dimensions]. Their product is checked against the values' lengths."""
        number = self.manifest.schema.first_buffers[column.name] + column.num_buffers - 1
        stored = self._fixed(number, places, 4 * column.num_shape_dims)
        found = np.empty((len(places.groups), column.num_shape_dims), np.int32)
        copy_spans(stored.addresses, stored.lengths, found.ctypes.data)
        sizes = np.prod(found.astype(np.float64), axis=1) * column.carrier.itemsize  # floats do not wrap around
        wrong = (found < 0).any(axis=1) | (sizes != self.spans(column, places).lengths)
        if column.kind == "pixels":
            wrong |= found[:, 2] != 3
        if wrong.any():
            bad = int(np.argmax(wrong))
            group = int(places.groups[bad])
            row = int(self._starts[group] + places.within[bad])
            raise self._damage(group, f"row {row} has another shape than its values")
        return found

    # Files

    def _make_ready(self, group: int) -> None:
        if self._is_ready[group]:
            return
        self._map(int(self._shard_of[group]))
        if self.check:
            self.verify_group(group)
        self._is_ready[group] = True

    def _map(self, number: int) -> int:
        """The address of a shard."""
        with self._lock:
            file = self._files[number]
            if file is None:
                shard = self.manifest.shards[number]
                file = self._files[number] = MappedFile(shard_path(self.root, shard), shard.num_bytes)
                self._bases[self._shard_of == number] = file.address
            return file.address

    def verify_group(self, group: int) -> None:
        """Raises StoreError where a row group does not match its checksum; names file, offset and rows."""
        entry = self._groups[group]
        address = self._map(int(self._shard_of[group])) + entry.offset
        data = np.empty(entry.num_bytes, np.uint8)
        copy_spans(np.array([address], np.uint64), np.array([entry.num_bytes], np.int64), data.ctypes.data)
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
        places = self.find(rows)
        found = [self.spans(column, places) for column in columns]
        addresses = np.concatenate([spans.addresses for spans in found])
        lengths = np.concatenate([spans.lengths for spans in found])
        return read_ahead(addresses, lengths, _MAX_GAP)

    def is_in_memory(self) -> bool:
        """Whether places spread over the store are all in the page cache."""
        groups = np.unique(np.linspace(0, len(self._groups) - 1, min(_LOOKS, len(self._groups))).astype(np.int64))
        addresses = []
        for number, group in enumerate(groups.tolist()):
            entry = self._groups[group]
            try:
                base = self._map(int(self._shard_of[group]))
            except StoreError:  # whoever asks for its rows will hear it
                return False
            inside = (
                entry.num_bytes * number // len(groups)
            )  # not always a group's beginning, which may have been read for its offsets
            addresses.append(base + entry.offset + inside)
        return count_resident(np.array(addresses, np.uint64)) == len(addresses)

    def __getstate__(self) -> tuple[str, bool, Manifest]:
        return self.root, self.check, self.manifest  # a store that grows meanwhile is the same one to every worker

    def __setstate__(self, state: tuple[str, bool, Manifest]) -> None:
        self.root, self.check, self.manifest = state
        self._index()
