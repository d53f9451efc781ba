"""Tables: Parquet, Arrow and CSV."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.arrow_columns import Cells, cells_of
from stoker.data.arrow_kinds import Kind, kind_of
from stoker.data.block_cache import BlockCache
from stoker.data.bulk import GetBatch
from stoker.data.handles import Handle
from stoker.data.optional import require
from stoker.data.table_files import TABLE_ENDINGS, CsvFile, TableFile, open_table_file
from stoker.data.values import Source, as_batch, check_indices
from stoker.errors import ArgumentError, DataError, EmptyFolderError, TypeMismatchError

Path = str | os.PathLike[str]


class Table(Source):
    """The rows of Parquet, Arrow IPC (file or stream; also .feather) or CSV files, with the schema's columns.

    ==================================  ===================================================
    numbers and booleans                a tensor of that dtype, without dimensions
    lists of numbers, of fixed size     a tensor, [size], or [outer, inner] where nested
    lists of numbers, of any size       a tensor [length of the list]
    strings, binary                     str, bytes
    struct of bytes and path            `EncodedImage`, as Hugging Face stores images
    ==================================  ===================================================

    A null is an error when its row is read. Where no column is of lists of any size or images, a batch is read in one go.

    What reading a row costs depends on the file. **Arrow** is memory-mapped: a row is a look-up; each file stays mapped, with
    a descriptor. **Parquet** has no rows to look up: a row costs decoding its whole row group (often 100,000 rows or
    more), unless that is still among the decoded ones, of which each process keeps `cache_bytes`. In file order each group is
    decoded once; shuffled over a table larger than the cache, nearly every row decodes one. Write small row groups (1,000
    rows), shuffle in blocks of some groups (`chunk_rows`), or pack the table. **CSV** is read into memory, once; workers share it.

    Files are opened in each process at first use, and travel to workers by path. Thread-safe.

    Args:
        path: a file, a folder with files of one of these kinds, or several files; rows come in this order, in a folder by name.
        columns: which columns, in the order of a sample's. All if not given.
        cache_bytes: of decoded row groups and decompressed record batches, in each process; the newest one is always kept.

    Attributes:
        chunk_rows: rows of the largest row group or compressed record batch, which a block shuffle reads together; None
            where rows are looked up one by one.
        prefers_workers: whether there are such.

    Raises:
        MissingPackageError: pyarrow is not installed.
        DataError: a file is damaged, or has other columns than the first; names it.
        ArgumentError: there is no column of a name in `columns`.
        TypeMismatchError: a column has a type that no value stands for (dates, decimals, maps, nested lists); names it.
    """

    def __init__(
        self, path: Path | Sequence[Path], columns: Sequence[str] | None = None, *, cache_bytes: int = 256 << 20
    ) -> None:
        if cache_bytes < 0:
            raise ArgumentError(f"cache_bytes must be at least 0; got {cache_bytes}.")
        self.paths = _find_files([path] if isinstance(path, str | os.PathLike) else path)
        files = [open_table_file(path) for path in self.paths]
        self._kinds = _kinds(self.paths[0], files[0].schema, columns)
        self.columns = tuple(self._kinds)
        for name, file in zip(self.paths[1:], files[1:], strict=True):
            _check_same(name, _kinds(name, file.schema, self.columns), self.paths[0], self._kinds)
        counts = [file.row_counts for file in files]
        self.prefers_workers = any(file.decodes for file in files)
        decoded = [count for file in files if file.decodes for count in file.row_counts]
        self.chunk_rows = max(decoded, default=None)
        self._block_of = np.array([(number, block) for number, rows in enumerate(counts) for block in range(len(rows))])
        self._bounds = np.cumsum([0, *(count for rows in counts for count in rows)])
        self._file_bounds = np.cumsum([0, *map(sum, counts)])
        held = [file if isinstance(file, CsvFile) else None for file in files]
        self._blocks = Handle(partial(_open_blocks, self.paths, held, self._kinds, self._block_of, cache_bytes))

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def read(self, index: int) -> tuple[Any, ...]:
        block = int(np.searchsorted(self._bounds, index, "right")) - 1
        row = index - int(self._bounds[block])
        return tuple(cells.cell(row) for cells in self._blocks.get().get(block))

    @property
    def get_batch(self) -> GetBatch | None:
        """Reads a batch in one go, as a list of columns; None where a column's rows differ in length."""
        return self._read_batch if all(kind.is_bulk for kind in self._kinds.values()) else None

    def _read_batch(self, indices: NDArray[np.int64]) -> Any:
        check_indices(indices, len(self))
        of_row = np.searchsorted(self._bounds, indices, "right") - 1
        batch = [_Gathered(kind, len(indices)) for kind in self._kinds.values()]
        for block in np.unique(of_row).tolist():
            places = np.flatnonzero(of_row == block)
            rows = indices[places] - self._bounds[block]
            for column, cells in zip(batch, self._blocks.get().get(block), strict=True):
                column.put(places, cells.cells(rows))
        return as_batch([column.value() for column in batch])

    def sample_path(self, index: int) -> str:
        return self.paths[int(np.searchsorted(self._file_bounds, index, "right")) - 1]


class _Gathered:
    """A column of a batch that is put together from several blocks."""

    def __init__(self, kind: Kind, num_rows: int) -> None:
        numeric = kind.name == "number"
        self._rows = np.empty((num_rows, *kind.shape), kind.dtype if numeric else object)

    def put(self, places: NDArray[np.int64], values: Any) -> None:
        if self._rows.dtype != object:
            self._rows[places] = values
            return
        for place, value in zip(places.tolist(), values, strict=True):
            self._rows[place] = value

    def value(self) -> Any:
        return list(self._rows) if self._rows.dtype == object else torch.from_numpy(self._rows)


def _open_blocks(
    paths: Sequence[str],
    held: Sequence[TableFile | None],
    kinds: dict[str, Kind],
    block_of: NDArray[np.int64],
    cache_bytes: int,
) -> BlockCache[list[Cells]]:
    """The blocks of all files, numbered throughout; a file is opened with the first of its blocks."""
    files = [Handle(partial(_given_or_opened, file, path)) for file, path in zip(held, paths, strict=True)]

    def load(number: int) -> tuple[list[Cells], int]:
        file, block = block_of[number].tolist()
        return _load(files[file].get(), paths[file], block, kinds)

    return BlockCache(load, cache_bytes)


def _given_or_opened(file: TableFile | None, path: str) -> TableFile:
    return open_table_file(path) if file is None else file


def _load(file: TableFile, path: str, block: int, kinds: dict[str, Kind]) -> tuple[list[Cells], int]:
    first_row = sum(file.row_counts[:block])
    try:
        table, num_bytes = file.load(block, tuple(kinds))
    except (require("pyarrow").ArrowException, OSError, ValueError, IndexError) as error:
        raise DataError(f"cannot read the rows from {first_row:,} on of {path}: {error}") from error

    def name_row(row: int) -> str:
        return f"row {first_row + row} of {path}"

    return [cells_of(kind, table.column(name), name, name_row) for name, kind in kinds.items()], num_bytes


def _kinds(path: str, schema: Any, columns: Sequence[str] | None) -> dict[str, Kind]:
    names = schema.names if columns is None else columns
    unknown = [name for name in names if name not in schema.names]
    if unknown or not names:
        wrong = f"got {', '.join(unknown)}" if unknown else "at least one is needed"
        raise ArgumentError(f"columns must be of those of {path}, which has {', '.join(schema.names)}; {wrong}.")
    if len(set(names)) != len(names) or any(schema.names.count(name) > 1 for name in names):
        raise DataError(f"{path} has columns of one name, or one was asked for twice: {', '.join(names)}.")
    found = {name: kind_of(schema.field(name).type) for name in names}
    strange = [f"{name} ({schema.field(name).type})" for name, kind in found.items() if kind is None]
    if strange:
        raise TypeMismatchError(
            f"{path} has columns of types that no value stands for: {', '.join(strange)}. Columns are numbers, strings, bytes, "
            "lists of numbers, and images; name those that you want: columns=[...]."
        )
    return {name: kind for name, kind in found.items() if kind is not None}


def _check_same(path: str, kinds: dict[str, Kind], first_path: str, first: dict[str, Kind]) -> None:
    for name, kind in kinds.items():
        if kind != first[name]:
            raise DataError(f"column {name!r} is {kind} in {path} and {first[name]} in {first_path}; files must agree.")


def _find_files(given: Iterable[Path]) -> list[str]:
    names = [os.path.abspath(os.fspath(name)) for name in given]
    return [path for name in names for path in (_files_of_folder(name) if os.path.isdir(name) else [name])]


def _files_of_folder(folder: str) -> list[str]:
    found = sorted(
        os.path.join(directory, name)
        for directory, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in TABLE_ENDINGS
    )
    if not found:
        raise EmptyFolderError(
            f"no tables in {folder}: looked for {', '.join(sorted(TABLE_ENDINGS))}, in it and below."
        )
    return found
