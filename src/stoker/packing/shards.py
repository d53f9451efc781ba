"""Packing as a dataset: element k packs shard k, and is the record of what it holds. So `Loader` packs in parallel."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import DataError, SkipSample, StoreError
from stoker.packing.infer import MisfitError, widened
from stoker.packing.samples import Samples, explained
from stoker.store.cells import encode_cell
from stoker.store.manifest import write_atomically
from stoker.store.schema import Column, Schema
from stoker.store.shard_writer import Row, ShardWriter

NAME = "_name"
"""The column of what the source calls its samples."""

_PATIENCE_S = 30.0


@dataclass(frozen=True)
class ShardPlan:
    """Which samples go into which shard: decided before anything is packed, by the source and the options alone.

    Attributes:
        indices: of the source's samples, in order.
        samples_per_shard: all shards but the last have as many.
        first_number: of the first shard's file.
    """

    schema: Schema
    indices: NDArray[np.int64]
    samples_per_shard: int
    first_number: int = 0

    @property
    def num_shards(self) -> int:
        return -(-len(self.indices) // self.samples_per_shard)

    def indices_of(self, number: int) -> NDArray[np.int64]:
        """The samples of shard `number`, counted from 0."""
        return self.indices[number * self.samples_per_shard : (number + 1) * self.samples_per_shard]

    def name_of(self, number: int) -> str:
        return f"data/{self.first_number + number:05d}.arrow"


class Attempt:
    """One call of `pack` among those that wrote to a place. Workers join it while they write a shard.

    The kernel's locks say whether they do, so that those of a killed process count for as long as they live, and no longer.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.token = ""

    def begin(self) -> None:
        """Ends all earlier attempts: waits for workers that still write for them, and lets none begin anew.

        Raises:
            StoreError: they go on for half a minute.
        """
        deadline = time.monotonic() + _PATIENCE_S
        with open(self.path, "a+") as file:
            while not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if time.monotonic() > deadline:
                    raise StoreError(f"workers of an earlier call still write beside {self.path}; end them first.")
                time.sleep(0.02)
            self.token = os.urandom(8).hex()
            file.truncate(0)
            file.write(self.token)
            file.flush()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Raises StoreError when another attempt has begun."""
        with open(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            if file.read() != self.token:
                raise StoreError("another call of pack has taken over.")
            yield


def _locked(file: IO[str], operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    return True


@dataclass
class _Tally:
    """What became of the samples of a shard."""

    source_bytes: int = 0
    images: dict[str, int] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)

    def count(self, done: str | None) -> None:
        if done is not None:
            self.images[done] = self.images.get(done, 0) + 1


class Shards:
    """Element k packs shard ``todo[k]``. A pure function of the plan: whoever packs a shard, and whenever, its bytes are the same.

    An element is the shard's number, or a column: the one that a sample did not fit in, wide enough for it.

    Args:
        root: the folder that has ``data/`` in it.
        records: the folder for records, each written when its shard is whole on the disk.
        todo: the shards that are packed.
        attempt: which call of `pack` this is. Workers outlive a process that was killed, for moments, and must not write
            into what the next one has begun.
    """

    draws_randomness = False  # it seeds what draws by itself

    def __init__(
        self, samples: Samples, plan: ShardPlan, root: str, records: str, todo: list[int], attempt: Attempt
    ) -> None:
        self.samples, self.plan, self.root, self.records, self.todo = samples, plan, root, records, todo
        self.attempt = attempt
        self.progress = os.path.join(records, "progress")

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, position: int) -> int | Column:
        with self.attempt.joined():
            try:
                return self._pack(self.todo[position])
            except MisfitError as misfit:
                return misfit.column

    def _pack(self, number: int) -> int:
        name = self.plan.name_of(number)
        progress = np.memmap(self.progress, np.int64, "r+")
        writer = ShardWriter(os.path.join(self.root, name), name, self.plan.schema)
        tally = _Tally()
        try:
            with self.samples.preserved():
                for done, index in enumerate(self.plan.indices_of(number).tolist()):
                    for row in self._rows(index, tally):
                        writer.append(row)
                    progress[number] = done + 1
            shard = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        record = {"shard": shard.to_json(), "source_bytes": tally.source_bytes, "images": tally.images}
        record["quarantine"] = tally.quarantine
        write_atomically(record_path(self.records, number), json.dumps(record, sort_keys=True).encode())
        return number

    def _rows(self, index: int, tally: _Tally) -> list[Row]:
        """The rows of a sample, one for each variant; none where it failed and such are skipped."""
        options = self.samples.options
        try:
            made = [self._row(index, variant) for variant in range(options.augment)]
        except MisfitError:
            raise
        except SkipSample:  # a filter dropped it
            return []
        except Exception as error:
            if not options.skips_errors:
                raise explained(error, self.samples, index) from error
            reason = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
            tally.quarantine.append({"index": index, "name": self.samples.name(index), "error": reason})
            return []
        for _, done, _ in made:
            for what in done:
                tally.count(what)
        tally.source_bytes += made[0][2]
        return [row for row, _, _ in made]

    def _row(self, index: int, variant: int) -> tuple[Row, list[str | None], int]:
        """A row, what was done to each value, and the bytes that the sample had in the source."""
        tree, values, source_bytes = self.samples.make(index, variant)
        schema = self.plan.schema
        check_structure(tree, schema.sample)
        row: list[tuple[Any, tuple[int, ...]]] = []
        found = {column.name: column for column in self.samples.columns(values)}
        done: list[str | None] = []
        for column in schema.sample_columns:
            wider = widened(column, found[column.name])
            if wider != column:
                raise MisfitError(wider)
            value, what = self.samples.packed(values[column.name])
            row.append(encode_cell(column, value))
            done.append(what)
        if len(schema.columns) > len(row):
            row.append(((self.samples.name(index) or "").encode(), ()))
        return row, done, source_bytes


def check_structure(found: Any, known: Any) -> None:
    """Raises DataError where a sample is put together in another way than those before."""
    if found != known:
        raise DataError(
            f"it is made of {json.dumps(found)}, and those that were looked at first of {json.dumps(known)}; "
            "a store's samples have one structure."
        )


def record_path(records: str, number: int) -> str:
    """The file of a shard's record."""
    return os.path.join(records, f"{number:05d}.json")
