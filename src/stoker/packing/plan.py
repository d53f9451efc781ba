"""What a pack writes into which shard: a function of the source and the options, so that any process may pack any shard."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.packed import Packed
from stoker.errors import DataError, SkipSample, StoreError
from stoker.packing.infer import widened
from stoker.packing.samples import Samples, explained
from stoker.packing.shards import NAME, ShardPlan, check_structure
from stoker.store.cells import encode_cell
from stoker.store.manifest import Manifest
from stoker.store.schema import Column, Schema

_PROBED = 32  # samples spread over the source, from which schema and size are learned
_FEWEST_SHARDS = 16  # of a small source, so that several processes have something to do …
_SMALLEST_SHARD_BYTES = 4 << 20  # … as long as they are not smaller than this


class Planner:
    """Plans the pack of `samples`, behind those that the store `target` has already where `base`, its manifest, is given."""

    def __init__(self, samples: Samples, target: str, base: Manifest | None) -> None:
        self.samples, self.target, self.base = samples, target, base

    def plan(self, wider: dict[str, Column]) -> ShardPlan:
        """The plan, with the columns of `wider` in place of those that the probed samples ask for.

        Raises:
            DataError: there is nothing to pack, or a sample cannot be stored; names it.
            StoreError: the store is another one than the source needs.
        """
        indices = self._indices()
        if not len(indices):
            raise DataError(self._nothing_text())
        schema, row_bytes = self._probe(indices, wider)
        per_shard = max(1, self.samples.options.shard_bytes // max(1, row_bytes))
        smallest = max(1, _SMALLEST_SHARD_BYTES // max(1, row_bytes))
        per_shard = min(per_shard, max(smallest, -(-len(indices) // _FEWEST_SHARDS)))
        return ShardPlan(schema, indices, per_shard, len(self.base.shards) if self.base else 0)

    def _nothing_text(self) -> str:
        return (
            "there are no samples to pack." if self.base is None else "the store has all samples of the source already."
        )

    def _indices(self) -> NDArray[np.int64]:
        """The samples that are packed: all, or those that the store lacks."""
        length = len(self.samples)
        everything = np.arange(length, dtype=np.int64)
        if self.base is None:
            return everything
        self._check_base(self.base)
        if any(column.name == NAME for column in self.base.schema.columns):
            known = set(_names_of(self.target)) | {entry["name"] for entry in self.base.quarantine}
            return np.array([i for i in range(length) if self.samples.name(i) not in known], np.int64)
        return everything[int(self.base.source["length"]) :]

    def _check_base(self, base: Manifest) -> None:
        classes = self.samples.classes
        if classes[: len(base.classes)] != base.classes:
            raise StoreError(
                f"the source's classes ({', '.join(classes[:5])} …) do not begin with the store's ({', '.join(base.classes[:5])} …), "
                "so their labels would mean something else. Pack the whole source anew."
            )
        if base.variants != self.samples.options.augment:
            raise StoreError(
                f"the store has {base.variants} variants of each sample; got augment={self.samples.options.augment}."
            )

    def _probe(self, indices: NDArray[np.int64], wider: dict[str, Column]) -> tuple[Schema, int]:
        """The schema that fits some samples spread over the source, and the bytes of a sample as packed."""
        columns: dict[str, Column] = {}
        tree: Any = None
        sizes: list[int] = []
        with self.samples.preserved():
            probed = np.unique(np.linspace(0, len(indices) - 1, _PROBED).astype(int)).tolist()
            for index in probed:
                try:
                    found_tree, found, size = self._probe_one(int(indices[index]))
                    tree = tree or found_tree
                    check_structure(found_tree, tree)
                    both = {column.name: widened(columns.get(column.name, column), column) for column in found}
                except SkipSample:
                    continue
                except Exception as error:
                    if self.samples.options.skips_errors:
                        continue
                    raise explained(error, self.samples, int(indices[index])) from error
                columns |= both
                sizes.append(size * self.samples.options.augment)
        if tree is None:
            raise DataError(
                f"not one of {len(probed)} samples spread over the source could be packed; pack with on_error='raise' to see why."
            )
        columns |= {name: column for name, column in wider.items() if name in columns}
        names = [Column(NAME, "string", in_sample=False)] if self.samples.name(int(indices[0])) is not None else []
        schema = Schema((*columns.values(), *names), tree)
        Schema.from_json(**schema.to_json())  # names that are too long, structures that are too deep
        if self.base is not None:
            schema = _fitting(self.base.schema, schema)
        return schema, int(np.mean(sizes))

    def _probe_one(self, index: int) -> tuple[Any, list[Column], int]:
        tree, values, _ = self.samples.make(index, 0)
        columns = self.samples.columns(values)
        cells = (encode_cell(column, self.samples.packed(values[column.name])[0]) for column in columns)
        return tree, columns, sum(len(cell) for cell, _ in cells)


def _names_of(target: str) -> list[str]:
    store = Packed(target)
    return [store.sample_name(index) or "" for index in range(len(store))]


def _fitting(known: Schema, found: Schema) -> Schema:
    """The schema of a store, where it holds samples of `found` as well."""
    same = known.sample == found.sample and {c.name for c in known.columns} == {c.name for c in found.columns}
    if same and all(widened(column, found[column.name]) == column for column in known.columns):
        return known
    raise StoreError(
        f"the store's columns cannot hold the source's samples. The store has {json.dumps(known.to_json())}, "
        f"the source {json.dumps(found.to_json())}. Pack the whole source anew."
    )
