"""``stoker.pack``: one command that turns a source into a store."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.fingerprint import fingerprint
from stoker.data.open import open as open_source
from stoker.engine.budget import cpu_budget, parse_bytes
from stoker.errors import ArgumentError, DataError, SkipSample, StoreError
from stoker.loader import Loader
from stoker.packing.infer import MisfitError, widened
from stoker.packing.options import SHARD_BYTES, PackOptions
from stoker.packing.samples import Samples, explained
from stoker.packing.shards import NAME, Attempt, ShardPlan, Shards, check_structure, record_path
from stoker.store.cells import encode_cell
from stoker.store.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    read_manifest,
    sync_folder,
    write_atomically,
    write_manifest,
)
from stoker.store.schema import Column, Schema

_PROBED = 32  # samples spread over the source, from which schema and size are learned
_FEWEST_SHARDS = 16  # of a small source, so that several processes have something to do …
_SMALLEST_SHARD_BYTES = 4 << 20  # … as long as they are not smaller than this
_POLL_S = 0.1

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class PackSummary:
    """What `stoker.pack` did.

    Attributes:
        path: of the store.
        num_samples: in the store.
        num_rows: in the store: as many as samples, or K times as many with ``augment=K``.
        num_shards: files.
        source_bytes: of the samples as their source had them.
        num_bytes: of the shards.
        images: what became of images, and of how many.
        quarantine: samples that were left out: index, name and error of each.
    """

    path: str
    num_samples: int
    num_rows: int
    num_shards: int
    source_bytes: int
    num_bytes: int
    images: dict[str, int] = field(default_factory=dict)
    quarantine: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        ratio = f", {self.num_bytes / self.source_bytes:.3f} of" if self.source_bytes else ", from"
        lines = [
            f"{self.path}: {self.num_samples:,} samples in {self.num_rows:,} rows, {self.num_shards:,} shards",
            f"{self.num_bytes:,} bytes{ratio} the source's {self.source_bytes:,}",
            *(f"{count:,} images {what}" for what, count in sorted(self.images.items(), key=lambda item: -item[1])),
        ]
        if self.quarantine:
            lines.append(f"{len(self.quarantine):,} samples were left out; the manifest's quarantine names them")
        return "\n".join(lines)


def pack(
    source: Any,
    target: str | os.PathLike[str],
    *,
    images: str = "keep",
    max_side: int | None = None,
    quality: int = 90,
    transform: Callable[[Any], Any] | None = None,
    augment: int = 1,
    on_error: str = "raise",
    shard_bytes: int | str = SHARD_BYTES,
    seed: int = 0,
    append: bool = False,
    num_workers: int | str = "auto",
    progress: Progress | None = None,
) -> PackSummary:
    """Packs `source` into the store `target`: a folder of Arrow files that is read at the disk's speed, and its manifest.

    The same source and options give the same bytes, whatever the number of workers. A pack that was stopped, or killed,
    goes on where it was when it is called again with the same arguments; until it is complete it stands beside its place,
    with ``.partial`` behind its name, and nothing can open it.

    Args:
        source: what `stoker.open` opens, or a map-style dataset.
        target: the store's folder, which must not exist (with `append`: an existing store).
        images: "keep" leaves pixels as they are, bit for bit (JPEGs are tiled without loss, so that a crop decodes only
            what it shows); "jpeg" encodes all anew; "raw" stores pixels.
        max_side: larger images are reduced to it, in their longer side, antialiased; with "keep" those become JPEGs.
        quality: of images that are encoded anew, 1 to 100.
        transform: applied to each sample, once, here; images come to it as PIL images.
        augment: how many variants of each sample are stored: `transform`, and the dataset's own, drawn with other
            randomness. The loader shows another one in each epoch.
        on_error: "raise", or "skip": samples that raise are left out, and named in the manifest's quarantine.
        shard_bytes: about the size of a file ("256MiB").
        seed: decides the randomness of `transform` and of the dataset.
        append: adds those samples of `source` that the store lacks: by their names where the source has names (paths,
            keys), else those behind as many as the store was packed from.
        num_workers: processes; 0 packs in this one.
        progress: called with (samples packed, samples in all), from a thread of its own.

    Raises:
        ArgumentError: an argument breaks a rule, or `target` exists.
        DataError: a sample cannot be read or stored; names it.
        StoreError: the store that is appended to is another one than the source needs.
    """
    if on_error not in ("raise", "skip"):
        raise ArgumentError(f"on_error must be 'raise' or 'skip'; got {on_error!r}.")
    options = PackOptions(
        images=images, max_side=max_side, quality=quality, augment=augment, transform=transform,
        shard_bytes=parse_bytes(shard_bytes), skips_errors=on_error == "skip", seed=seed,
    )  # fmt: skip
    dataset = open_source(source) if isinstance(source, str | os.PathLike) else source
    job = _Job(Samples(dataset, options), os.path.abspath(os.fspath(target)), append)
    workers = _num_workers(num_workers)
    with job.locked():
        while True:
            try:
                return job.run(workers, progress)
            except (
                MisfitError
            ) as misfit:  # a sample that the first ones did not foretell: begin anew, with a wider column
                job.widen(misfit.column)


def _num_workers(value: int | str) -> int:
    if value == "auto":
        return cpu_budget()
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArgumentError(f"num_workers must be 'auto' or a whole number from 0 on; got {value!r}.")
    return value


class _Job:
    """One call of `pack`."""

    def __init__(self, samples: Samples, target: str, append: bool) -> None:
        self.samples, self.target = samples, target
        self.partial = f"{target.rstrip('/')}.partial"
        self.base: Manifest | None = None
        if append:
            self.base = read_manifest(target)
        elif os.path.exists(target):
            raise ArgumentError(
                f"{target} exists already. Choose another place, remove it, or add to it with append=True (--append)."
            )
        self.root = target if append else self.partial  # of the data
        self.records = os.path.join(self.partial, "records")
        self.attempt = Attempt(os.path.join(self.partial, "attempt"))
        self._wider: dict[str, Column] = {}
        self._begins_anew = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One pack at a time writes to a place. The lock is the kernel's, and ends with its owner."""
        os.makedirs(self.records, exist_ok=True)
        path = os.path.join(self.partial, "lock")
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                    raise FileNotFoundError(path)
            except OSError as error:  # held; or its owner has just published the store, and the file with it
                raise StoreError(f"another process is packing {self.target} now.") from error
            yield

    def widen(self, column: Column) -> None:
        """Makes the next `run` begin anew, with this column and those that were widened before."""
        self._wider[column.name] = column
        self._begins_anew = True

    def run(self, workers: int, progress: Progress | None) -> PackSummary:
        plan = self._plan()
        self.attempt.begin()
        plan = self._resumed(plan)
        todo = [number for number in range(plan.num_shards) if not os.path.exists(record_path(self.records, number))]
        shards = Shards(self.samples, plan, self.root, self.records, todo, self.attempt)
        np.memmap(shards.progress, np.int64, "w+", shape=(max(1, plan.num_shards),)).flush()
        done = len(plan.indices) - sum(len(plan.indices_of(number)) for number in todo)
        with _reported(shards.progress, done, len(plan.indices), progress):
            loader = Loader(shards, batch_size=None, num_workers=min(workers, len(todo)), collate_fn=_as_it_is, seed=0)
            with closing(iter(loader)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome, Column):
                        raise MisfitError(outcome)
        return self._finish(plan)

    # The plan

    def _plan(self) -> ShardPlan:
        indices = self._indices()
        if not len(indices):
            raise DataError(self._nothing_text())
        schema, row_bytes = self._probe(indices)
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

    def _probe(self, indices: NDArray[np.int64]) -> tuple[Schema, int]:
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
        columns |= {name: wider for name, wider in self._wider.items() if name in columns}
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

    # What an earlier call left

    def _resumed(self, plan: ShardPlan) -> ShardPlan:
        """The plan, or the same with columns that an earlier call found to be wider. What was left by another plan is removed."""
        path = os.path.join(self.partial, "plan.json")
        key = self._key(plan)
        left = _read_json(path)
        if left is not None and left.get("key") == key and not self._begins_anew:
            return replace(plan, schema=Schema.from_json(left["columns"], plan.schema.sample))
        self._clear()
        sync_folder(self.partial)
        content = {"key": key, "columns": plan.schema.to_json()["columns"]}
        write_atomically(path, json.dumps(content, sort_keys=True).encode())
        self._begins_anew = False
        return plan

    def _clear(self) -> None:
        """Removes the shards of another plan, and the records that say that they are whole: these first."""
        data = os.path.join(self.root, "data")
        shutil.rmtree(self.records, ignore_errors=True)
        os.makedirs(self.records)
        os.makedirs(data, exist_ok=True)
        known = {os.path.basename(shard.name) for shard in self.base.shards} if self.base else set()
        for name in set(os.listdir(data)) - known:
            os.remove(os.path.join(data, name))
        if not self.base and os.path.exists(manifest := os.path.join(self.root, MANIFEST)):
            os.remove(manifest)  # of a call that was killed a moment before its end

    def _key(self, plan: ShardPlan) -> dict[str, Any]:
        """What has to be equal for an earlier call's shards to be of use."""
        return {
            "source": fingerprint(self.samples.source), "options": self.samples.options.to_json(), "sample": plan.schema.sample,
            "indices": hashlib.sha256(plan.indices.tobytes()).hexdigest(), "samples_per_shard": plan.samples_per_shard,
            "base": self.base.checksum if self.base else None,
        }  # fmt: skip

    # The end

    def _finish(self, plan: ShardPlan) -> PackSummary:
        records = [_read_json(record_path(self.records, number)) or {} for number in range(plan.num_shards)]
        new = tuple(Shard.from_json(record["shard"], plan.schema) for record in records)
        base = self.base
        images: dict[str, int] = dict(base.summary.get("images", {})) if base else {}
        for record in records:
            for what, count in record["images"].items():
                images[what] = images.get(what, 0) + count
        source_bytes = sum(record["source_bytes"] for record in records) + (base.summary["source_bytes"] if base else 0)
        quarantine = [entry for record in records for entry in record["quarantine"]]
        manifest = Manifest(
            plan.schema, ((*base.shards, *new) if base else new), self.samples.options.augment,
            self.samples.classes, ((*base.quarantine, *quarantine) if base else tuple(quarantine)),
            {"type": fingerprint(self.samples.source)["type"], "length": len(self.samples), "options": self.samples.options.to_json()},
            {"source_bytes": source_bytes, "images": images},
        )  # fmt: skip
        self._publish(manifest)
        return PackSummary(
            self.target, manifest.num_samples, manifest.num_rows, len(manifest.shards), source_bytes,
            sum(shard.num_bytes for shard in manifest.shards), images, tuple(map(dict, manifest.quarantine)),
        )  # fmt: skip

    def _publish(self, manifest: Manifest) -> None:
        """From here on the store can be opened: whole, under its name."""
        if self.base is not None:
            write_manifest(self.target, manifest)
            shutil.rmtree(self.partial)
            return
        write_atomically(os.path.join(self.partial, "manifest.ready"), manifest.to_bytes())
        for name in ("records", "plan.json", "attempt", "lock"):
            path = os.path.join(self.partial, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        os.rename(os.path.join(self.partial, "manifest.ready"), os.path.join(self.partial, MANIFEST))
        sync_folder(self.partial)
        os.rename(self.partial, self.target)
        sync_folder(os.path.dirname(self.target))


def _as_it_is(value: Any) -> Any:
    return value


def _names_of(target: str) -> list[str]:
    from stoker.data.packed import Packed

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


def _read_json(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _reported(path: str, done: int, total: int, progress: Progress | None) -> Iterator[None]:
    """Calls `progress` now and then from a thread, with what the workers have counted."""
    if progress is None:
        yield
        return
    counts = np.memmap(path, np.int64, "r")
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            progress(done + int(counts.sum()), total)

    thread = threading.Thread(target=watch, name="stoker-pack-progress", daemon=True)
    thread.start()
    try:
        yield
        progress(total, total)
    finally:
        ended.set()
        thread.join()
