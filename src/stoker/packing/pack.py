"""``stoker.pack``: one command that turns a source into a store."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stoker.data.fingerprint import fingerprint
from stoker.data.open import open as open_source
from stoker.engine.budget import cpu_budget, parse_bytes
from stoker.errors import ArgumentError
from stoker.loader import Loader
from stoker.packing.infer import MisfitError
from stoker.packing.options import SHARD_BYTES, PackOptions
from stoker.packing.partial import Partial
from stoker.packing.plan import Planner
from stoker.packing.samples import Samples
from stoker.packing.shards import ShardPlan, Shards
from stoker.store.manifest import Manifest, Shard
from stoker.store.schema import Column

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

    @staticmethod
    def of(path: str, manifest: Manifest) -> PackSummary:
        """What the store at `path` is, as its manifest has it."""
        return PackSummary(
            path, manifest.num_samples, manifest.num_rows, len(manifest.shards), manifest.summary["source_bytes"],
            sum(shard.num_bytes for shard in manifest.shards), dict(manifest.summary["images"]),
            tuple(map(dict, manifest.quarantine)),
        )  # fmt: skip

    def __str__(self) -> str:
        ratio = f", {self.num_bytes / self.source_bytes:.3f} of" if self.source_bytes else ", from"
        lines = [
            f"{self.path}: {self.num_samples:,} samples in {self.num_rows:,} rows, {self.num_shards:,} shard{'s' * (self.num_shards != 1)}",
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
    with job.partial.locked():
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
        self.samples = samples
        self.partial = Partial(target, append)
        self._planner = Planner(samples, target, self.partial.base)
        self._wider: dict[str, Column] = {}
        self._begins_anew = False

    def widen(self, column: Column) -> None:
        """Makes the next `run` begin anew, with this column and those that were widened before."""
        self._wider[column.name] = column
        self._begins_anew = True

    def run(self, workers: int, progress: Progress | None) -> PackSummary:
        plan = self._planner.plan(self._wider)
        self.partial.attempt.begin()
        plan = self.partial.resumed(plan, self._key(plan), self._begins_anew)
        self._begins_anew = False
        todo = [number for number in range(plan.num_shards) if self.partial.record(number) is None]
        shards = Shards(self.samples, plan, self.partial.root, self.partial.records, todo, self.partial.attempt)
        np.memmap(shards.progress, np.int64, "w+", shape=(max(1, plan.num_shards),)).flush()
        done = len(plan.indices) - sum(len(plan.indices_of(number)) for number in todo)
        with _reported(shards.progress, done, len(plan.indices), progress):
            loader = Loader(shards, batch_size=None, num_workers=min(workers, len(todo)), collate_fn=_as_it_is, seed=0)
            with closing(iter(loader)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome, Column):
                        raise MisfitError(outcome)
        manifest = self._manifest(plan)
        self.partial.publish(manifest)
        return PackSummary.of(self.partial.target, manifest)

    def _key(self, plan: ShardPlan) -> dict[str, Any]:
        """What has to be equal for an earlier call's shards to be of use."""
        base = self.partial.base
        return {
            "source": fingerprint(self.samples.source), "options": self.samples.options.to_json(), "sample": plan.schema.sample,
            "indices": hashlib.sha256(plan.indices.tobytes()).hexdigest(), "samples_per_shard": plan.samples_per_shard,
            "base": base.checksum if base else None,
        }  # fmt: skip

    def _manifest(self, plan: ShardPlan) -> Manifest:
        """Of the store as it is now: what it had, and the shards of this plan."""
        options, source = self.samples.options, fingerprint(self.samples.source)
        had = self.partial.base or Manifest(plan.schema, (), options.augment)
        records = [self.partial.record(number) for number in range(plan.num_shards)]
        images = Counter(had.summary.get("images", {}))
        for record in records:
            images.update(record["images"])
        return Manifest(
            schema=plan.schema,
            shards=(*had.shards, *(Shard.from_json(record["shard"], plan.schema) for record in records)),
            variants=options.augment,
            classes=self.samples.classes,
            quarantine=(*had.quarantine, *(entry for record in records for entry in record["quarantine"])),
            source={"type": source["type"], "length": len(self.samples), "options": options.to_json()},
            summary={
                "source_bytes": had.summary.get("source_bytes", 0) + sum(record["source_bytes"] for record in records),
                "images": dict(images),
            },
        )


def _as_it_is(value: Any) -> Any:
    return value


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
