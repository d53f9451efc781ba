"""Packing as a dataset: element k packs shard k, and is the record of what it holds. So `Loader` packs in parallel."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import DataError, StoreError
from stoker.packing.infer import MisfitError, widened
from stoker.packing.samples import Samples, explained
from stoker.store.cells import encode_cell
from stoker.store.manifest import write_atomically
from stoker.store.schema import Schema
from stoker.store.shard_writer import Row, ShardWriter

NAME = "_name"
"""The column of what the source calls its samples."""


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
    """Element k packs shard ``todo[k]`` and returns its number. A pure function of the plan: whoever packs a shard, and whenever, its bytes are the same.

    Args:
        root: the folder that has ``data/`` in it.
        records: the folder for records, each written when its shard is whole on the disk.
        progress: a file of int64, the number of samples that each shard has so far.
    """

    draws_randomness = False  # it seeds what draws by itself

    def __init__(self, samples: Samples, plan: ShardPlan, root: str, records: str, todo: list[int]) -> None:
        self.samples, self.plan, self.root, self.records, self.todo = samples, plan, root, records, todo
        self.progress = os.path.join(records, "progress")

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, position: int) -> int:
        number = self.todo[position]
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
            return [self._row(index, variant, tally) for variant in range(options.augment)]
        except (MisfitError, StoreError, OSError) as error:
            if not options.skips_errors or not isinstance(error, StoreError):
                raise
            reason = error
        except Exception as error:
            if not options.skips_errors:
                raise explained(error, self.samples, index) from error
            reason = DataError(f"{type(error).__name__}: {error}")
        tally.quarantine.append({"index": index, "name": self.samples.name(index), "error": str(reason)})
        return []

    def _row(self, index: int, variant: int, tally: _Tally) -> Row:
        tree, values, source_bytes = self.samples.make(index, variant)
        schema = self.plan.schema
        if tree != schema.sample:
            raise DataError(
                f"sample {index} is made of {json.dumps(tree)}, and those that were looked at first of "
                f"{json.dumps(schema.sample)}; a store's samples have one structure."
            )
        row = []
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
            row.append(((self.samples.name(index) or "").encode("utf-8", "surrogateescape"), ()))
        for what in done:
            tally.count(what)
        tally.source_bytes += source_bytes if variant == 0 else 0
        return row


def record_path(records: str, number: int) -> str:
    """The file of a shard's record."""
    return os.path.join(records, f"{number:05d}.json")
