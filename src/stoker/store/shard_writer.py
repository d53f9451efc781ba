"""Writing a shard: rows in, an Arrow IPC file out, with its checksums and the place of every buffer."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stoker.errors import StoreError
from stoker.store.manifest import RowGroup, Shard, sync_folder
from stoker.store.schema import Column, Schema

GROUP_BYTES = 4 << 20
"""Bytes of values in a row group: enough to be read in one go, little enough to be checked when it is first touched."""

Cell = bytes | memoryview
Row = Sequence[tuple[Cell, tuple[int, ...]]]
"""A row for a shard: for each column the bytes of its value, and its shape where the column stores shapes (else ())."""


class _HashingFile(io.RawIOBase):
    """A file that knows the checksums of what was written to it."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 -- it is closed with this
        self.sha256 = hashlib.sha256()
        self.crc32 = 0
        self.position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.sha256.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        size = memoryview(data).nbytes
        self.position += size
        return size

    def tell(self) -> int:
        return self.position

    def close(self) -> None:
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        super().close()

    def abandon(self) -> None:
        """Closes without waiting for the disk."""
        try:
            self._file.close()
        finally:
            super().close()


@dataclass
class _Pending:
    """The rows of a column that wait for their row group."""

    cells: list[Cell] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)


class ShardWriter:
    """Writes one shard. Rows of a group are held in memory until there are `group_bytes` of them. Not thread-safe.

    The file appears under its name when `finish` has returned, complete and synced; until then it stands beside it with
    ``.new`` behind its name.
    """

    def __init__(self, path: str, name: str, schema: Schema, group_bytes: int = GROUP_BYTES) -> None:
        import pyarrow as pa

        if sys.byteorder != "little":
            raise StoreError("packed stores are little-endian, and this machine is not.")
        self._path, self._name, self._schema, self._group_bytes = path, name, schema, group_bytes
        self._file = _HashingFile(f"{path}.new")
        self._arrow_schema = arrow_schema(schema)
        self._writer: Any = pa.ipc.new_file(pa.PythonFile(self._file, "w"), self._arrow_schema)
        self._pending = [_Pending() for _ in schema.columns]
        self._pending_bytes = 0
        self._groups: list[tuple[int, int, int, str]] = []  # rows, offset, bytes, crc32

    def append(self, row: Row) -> None:
        """Adds a row: a cell for each column."""
        for pending, (cell, shape) in zip(self._pending, row, strict=True):
            pending.cells.append(cell)
            pending.shapes.append(shape)
            self._pending_bytes += len(cell)
        if self._pending_bytes >= self._group_bytes:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        num_rows = len(self._pending[0].cells)
        if not num_rows:
            return
        arrays = [
            array
            for column, pending in zip(self._schema.columns, self._pending, strict=True)
            for array in _arrays(column, pending)
        ]
        batch = pa.record_batch(arrays, schema=self._arrow_schema)
        start, self._file.crc32 = self._file.position, 0
        self._writer.write_batch(batch)
        self._groups.append((num_rows, start, self._file.position - start, f"{self._file.crc32:08x}"))
        self._pending = [_Pending() for _ in self._schema.columns]
        self._pending_bytes = 0

    def finish(self) -> Shard:
        """Completes the file, and says what is in it."""
        self._flush()
        self._writer.close()
        self._file.close()
        buffers = _buffer_offsets(f"{self._path}.new", self._schema)
        groups = tuple(RowGroup(*group, each) for group, each in zip(self._groups, buffers, strict=True))
        os.replace(f"{self._path}.new", self._path)
        sync_folder(os.path.dirname(self._path))
        num_rows = sum(group.num_rows for group in groups)
        return Shard(self._name, num_rows, self._file.position, self._file.sha256.hexdigest(), groups)

    def abandon(self) -> None:
        """Gives up: what was written is removed."""
        with suppress(OSError):  # what is buffered cannot be written to a full disk: the error that led here says so
            self._file.abandon()
        with suppress(OSError):
            os.remove(f"{self._path}.new")


def arrow_schema(schema: Schema) -> Any:
    """The Arrow schema of a store's shards; each field's metadata say what Stoker knows of the column."""
    import pyarrow as pa

    fields = []
    for column in schema.columns:
        metadata = {"stoker": json.dumps(column.to_json(), sort_keys=True)}
        fields.append(pa.field(column.name, _arrow_type(column), nullable=False, metadata=metadata))
        if column.stores_shape:
            shape = pa.list_(pa.int32(), column.num_shape_dims)
            fields.append(pa.field(f"{column.name}.shape", shape, nullable=False))
    return pa.schema(fields)


def _arrow_type(column: Column) -> Any:
    import pyarrow as pa

    if column.kind in ("bytes", "image"):
        return pa.large_binary()
    if column.kind in ("string", "json"):
        return pa.large_utf8()
    values = pa.from_numpy_dtype(column.carrier)
    if column.kind == "scalar":
        return values
    if column.kind == "tensor":
        return pa.list_(values, int(np.prod(column.shape, dtype=np.int64)))
    return pa.large_list(values)


def _arrays(column: Column, pending: _Pending) -> list[Any]:
    """The Arrow arrays of a column's rows: its values, and their shapes where they are stored."""
    import pyarrow as pa

    kind, num_rows = _arrow_type(column), len(pending.cells)
    values = pa.py_buffer(b"".join(pending.cells))
    if column.kind == "scalar":
        array = pa.Array.from_buffers(kind, num_rows, [None, values])
    elif column.kind == "tensor":
        length = num_rows * kind.list_size
        array = pa.FixedSizeListArray.from_arrays(
            pa.Array.from_buffers(kind.value_type, length, [None, values]), type=kind
        )
    else:
        array = _varying_array(kind, column, pending, values)
    if not column.stores_shape:
        return [array]
    shapes = np.array(pending.shapes, np.int32).reshape(-1)
    shape_type = pa.list_(pa.int32(), column.num_shape_dims)
    return [array, pa.FixedSizeListArray.from_arrays(pa.array(shapes), type=shape_type)]


def _varying_array(kind: Any, column: Column, pending: _Pending, values: Any) -> Any:
    import pyarrow as pa

    ends = np.cumsum([len(cell) for cell in pending.cells], dtype=np.int64) // column.carrier.itemsize
    offsets = pa.py_buffer(np.concatenate([np.zeros(1, np.int64), ends]))
    if column.kind not in ("ragged", "pixels"):
        return pa.Array.from_buffers(kind, len(ends), [None, offsets, values])
    child = pa.Array.from_buffers(kind.value_type, int(ends[-1]), [None, values])
    return pa.Array.from_buffers(kind, len(ends), [None, offsets], children=[child])


def _buffer_offsets(path: str, schema: Schema) -> list[tuple[int, ...]]:
    """Where each buffer of each row group stands in the file, as Arrow itself finds them."""
    import pyarrow as pa

    with pa.memory_map(path) as source:
        whole = source.read_buffer()
        reader = pa.ipc.open_file(whole)
        batches = map(reader.get_batch, range(reader.num_record_batches))
        return [tuple(_offsets_of(batch, schema, whole)) for batch in batches]


def _offsets_of(batch: Any, schema: Schema, whole: Any) -> list[int]:
    """An empty buffer stands nowhere, and is said to stand at the file's beginning."""
    buffers = [buffer for array in batch.columns for buffer in array.buffers() if buffer is not None]
    if len(buffers) != schema.num_buffers:
        raise StoreError(f"Arrow wrote {len(buffers)} buffers for a row group, and {schema.num_buffers} were expected.")
    return [buffer.address - whole.address if buffer.size else 0 for buffer in buffers]
