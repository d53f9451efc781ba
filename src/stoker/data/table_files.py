"""Files of rows and columns, read in blocks: Parquet by row group, Arrow by record batch, CSV as a whole."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stoker.data.optional import require
from stoker.data.scan import ending_of
from stoker.errors import DataError

_VIEW_BYTES = 16 << 10  # what a block takes whose values lie in a mapped file: the objects around them


class TableFile(Protocol):
    """An open file. Thread-safe; closes itself when it is dropped."""

    schema: Any
    """A ``pyarrow.Schema``."""
    row_counts: list[int]
    """The rows of each block."""
    decodes: bool
    """Whether loading a block is work: decoding or decompression."""

    def load(self, block: int, columns: Sequence[str]) -> tuple[Any, int]:
        """Some columns of a block, a ``pyarrow.Table`` or ``RecordBatch``, and the bytes of memory that it takes."""


class ParquetFile:
    """A block is a row group. The file is opened for each one, so that nothing is shared between threads."""

    decodes = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._parquet = require("pyarrow.parquet")
        with self._parquet.ParquetFile(path, memory_map=True) as file:
            self._metadata = file.metadata
            self.schema = file.schema_arrow
        self.row_counts = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]

    def load(self, block: int, columns: Sequence[str]) -> tuple[Any, int]:
        # One thread: loaders run several workers, and each would start one for every core.
        arguments: dict[str, Any] = {"memory_map": True, "page_checksum_verification": True}
        with self._parquet.ParquetFile(self._path, metadata=self._metadata, **arguments) as file:
            table = file.read_row_group(block, list(columns), use_threads=False)
        return table, table.nbytes


class ArrowFile:
    """An Arrow IPC file, memory-mapped: a block is a record batch, and takes no memory unless it is compressed."""

    def __init__(self, path: str) -> None:
        pa = require("pyarrow")
        self._memory = _map(path)
        self._ipc, self._lock = pa.ipc, threading.Lock()
        whole = self._open()
        self.schema = whole.schema
        # A reader of some columns copies them, and so decompresses no others; a reader of all copies nothing.
        self.decodes = whole.num_record_batches > 0 and _bytes_outside(whole.get_batch(0), self._memory) > 0
        counted = self._open([0]) if self.decodes else whole
        self.row_counts = [counted.get_batch(number).num_rows for number in range(counted.num_record_batches)]
        self._readers: dict[tuple[int, ...], Any] = {}

    def _open(self, fields: Sequence[int] = ()) -> Any:
        """A reader of some columns; of all where none are given."""
        return self._ipc.open_file(self._memory, options=self._ipc.IpcReadOptions(included_fields=list(fields)))

    def load(self, block: int, columns: Sequence[str]) -> tuple[Any, int]:
        fields = tuple(sorted(map(self.schema.get_field_index, columns))) if self.decodes else ()
        with self._lock:  # a reader reads its dictionaries at first use
            if fields not in self._readers:
                self._readers[fields] = self._open(fields)
            batch = self._readers[fields].get_batch(block).select(list(columns))
        return batch, _VIEW_BYTES + _bytes_outside(batch, self._memory)


class ArrowStream:
    """An Arrow IPC stream, memory-mapped: a block is a record batch. Compressed batches are held in memory, decompressed."""

    decodes = False

    def __init__(self, path: str) -> None:
        reader = require("pyarrow").ipc.open_stream(_map(path))
        self.schema, self._batches = reader.schema, list(reader)
        self.row_counts = [batch.num_rows for batch in self._batches]

    def load(self, block: int, columns: Sequence[str]) -> tuple[Any, int]:
        return self._batches[block].select(list(columns)), _VIEW_BYTES


class CsvFile:
    """A CSV file, read into memory once. Pickles as what was read, so that worker processes share it."""

    decodes = False

    def __init__(self, path: str) -> None:
        csv = require("pyarrow.csv")
        separator = "\t" if ending_of(path) == ".tsv" else ","
        table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=separator))
        self.schema, self._batches = table.schema, table.combine_chunks().to_batches()
        self.row_counts = [batch.num_rows for batch in self._batches]

    def load(self, block: int, columns: Sequence[str]) -> tuple[Any, int]:
        return self._batches[block].select(list(columns)), _VIEW_BYTES


def _arrow(path: str) -> TableFile:
    with open(path, "rb") as file:
        begins = file.read(6)
    return ArrowFile(path) if begins == b"ARROW1" else ArrowStream(path)


_OPENERS: dict[str, Callable[[str], TableFile]] = {
    ".parquet": ParquetFile,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": CsvFile,
    ".tsv": CsvFile,
}
TABLE_ENDINGS = frozenset(_OPENERS)
"""The endings of files that hold a table, in lower case."""


def open_table_file(path: str) -> TableFile:
    """Opens a file by its ending.

    Raises:
        MissingPackageError: pyarrow is not installed.
        DataError: the file is damaged, or of no kind that can be read.
    """
    pa = require("pyarrow")
    opener = _OPENERS.get(ending_of(path))
    if opener is None:
        raise DataError(f"{path} is no table: its name must end in {', '.join(sorted(_OPENERS))}.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is nothing at {path}")
    try:
        return opener(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _map(path: str) -> Any:
    """The file's bytes as an Arrow buffer, unmapped when the last array that lies in it is gone."""
    if not os.path.getsize(path):
        raise ValueError("the file is empty")
    with open(path, "rb") as file:
        return require("pyarrow").py_buffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _bytes_outside(batch: Any, memory: Any) -> int:
    """Bytes of a batch that do not lie in mapped memory: those of decompressed buffers."""
    within = range(memory.address, memory.address + memory.size)
    buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer is not None]
    return sum(buffer.size for buffer in buffers if buffer.address not in within)
