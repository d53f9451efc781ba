"""The Fetcher: reads the samples of a batch, seeds what draws from generators, and collates. Every worker has one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from stoker.batch.layout import Layout, MisfitError, RowWriter, infer_layout, view_batch
from stoker.data.bulk import bulk_reader, prefers_workers
from stoker.data.image_rows import RowReader, row_reader
from stoker.engine.failures import Skipped, note_sample
from stoker.engine.protocol import BatchSpec, Kind, StreamStart, Work
from stoker.engine.purity import wrapped_datasets
from stoker.engine.seeding import Seeder, global_state_digest
from stoker.engine.stream import ExhaustedError, Stream
from stoker.errors import DataError, SkipSample
from stoker.order.keys import KeyedRandom, batch_key, derive, sample_key, sample_keys, set_current_epoch

_MAX_ATTEMPTS = 100  # replacements for one skipped sample, before its own error is raised after all
_MAX_DROPPED = (
    10_000  # for one that a filter drops: of a filter that keeps one sample in a thousand, one row in 20,000 fails
)

OpenWriter = Callable[[Layout, int], RowWriter]
"""Opens the memory of a batch: (layout, number of rows) -> writer."""


class EmptyBatchError(Exception):
    """All samples of a batch were skipped, and none replaced: there is no batch to deliver."""

    def __init__(self, skipped: list[Skipped]) -> None:
        super().__init__(skipped)
        self.skipped = skipped


def run_whole(fetcher: Fetcher, spec: BatchSpec) -> tuple[Kind, Any]:
    """Makes a whole batch as a task; what it raises becomes a result of its kind."""
    try:
        return Kind.VALUE, fetcher.fetch(spec)
    except EmptyBatchError as empty:
        return Kind.EMPTY, (None, empty.skipped)
    except ExhaustedError:
        return Kind.EXHAUSTED, None
    except Exception as error:
        return Kind.ERROR, error


class Fetcher:
    """Makes batches of one loader's `Work`. Deterministic for map-style datasets; not thread-safe."""

    def __init__(self, work: Work, *, owns_generators: bool = True) -> None:
        self.work = work
        self._owns_generators = owns_generators
        self._dataset = work.dataset
        self._get_batch = None if work.iterable or not work.batched else bulk_reader(work.dataset, work.stacks_rows)
        self._getitems = _getitems(work.dataset) if work.batched else None
        self._transform_batch = _transform_batch(work.dataset)
        self._stream: Stream | None = None
        self._layout: Layout | None = None
        self.reseeds = work.reseed == "sample" and not work.iterable
        self.on_row: Callable[[int], None] | None = None
        """Called with the number of each row before it is made; lets a worker say what it was doing when it died."""

    @cached_property
    def _seeder(self) -> Seeder:
        """Made when it is first needed: it looks through all of the dataset for generators."""
        roots = self.work.dataset, self.work.collate_fn, self._transform_batch
        return Seeder(*roots, owns_generators=self._owns_generators)

    @cached_property
    def _row_reader(self) -> RowReader | None:
        """Where it is not None, it makes the rows of a batch together, as they would be made one by one."""
        return row_reader(self._dataset) if self.writes_rows and self.reseeds else None

    @property
    def is_bulk(self) -> bool:
        """Whether batches are read in one go: then workers only add cost, unless the dataset says otherwise."""
        return self._get_batch is not None and self._transform_batch is None

    @property
    def prefers_workers(self) -> bool:
        """Whether reading a batch costs real work, as the dataset says."""
        return prefers_workers(self._dataset)

    @property
    def writes_rows(self) -> bool:
        """Whether rows can be made one by one and written straight into the batch."""
        whole = self._get_batch or self._getitems or self._transform_batch
        if getattr(self._dataset, "drops_samples", False):
            return False  # almost every batch would have to be made again, as one value
        return self.work.batched and self.work.stacks_rows and not self.work.iterable and whole is None

    @property
    def draws_global(self) -> bool:
        """Whether the code may draw from generators that threads would have to share."""
        return self.reseeds and self._seeder.foreign

    @property
    def needs_keys(self) -> bool:
        """Whether the code may read a sample's key, or draw from generators seeded with it."""
        return self._seeder.needs_keys

    @property
    def has_private_generators(self) -> bool:
        return self._seeder.has_private_generators

    def draws_at(self, index: int) -> bool:
        """Whether making sample `index` changes the global generators. Leaves them as they were."""
        with self.preserved():
            self._seeder.seed(0)
            before = global_state_digest()
            with suppress(Exception):  # the loop will meet it, at its place in the order
                self._dataset[index]
            return global_state_digest() != before

    def preserved(self) -> AbstractContextManager[None]:
        """Keeps the caller's own random state from being changed by what is fetched inside."""
        return self._seeder.preserved()

    # Whole batches

    def fetch(self, spec: BatchSpec) -> tuple[Any, list[Skipped]]:
        """The collated batch and the samples that were skipped in it.

        Raises:
            EmptyBatchError: every sample was skipped.
            ExhaustedError: the iterable dataset has ended.
        """
        set_current_epoch(spec.epoch)
        if self.work.iterable:
            return self._next_of_stream(spec), []
        skipped: list[Skipped] = []
        if self._get_batch is not None:
            self._seed(batch_key, spec)
            batch = self._get_batch(
                spec.indices if type(spec.indices) is np.ndarray else np.asarray(spec.indices, np.int64)
            )
        elif (whole := self._read_whole(spec)) is not None:
            return whole, []
        else:
            samples, skipped = self._samples(spec)
            if not samples:
                raise EmptyBatchError(skipped)
            self._seed(batch_key, spec)
            batch = self.work.collate_fn(samples if self.work.batched else samples[0])
        if self._transform_batch is not None:
            self._seed(batch_key, spec)
            batch = self._transform_batch(batch)
        return batch, skipped

    def _read_whole(self, spec: BatchSpec) -> Any:
        """The batch, where its rows can be read together; None where they cannot, or one of them fails: it fails by itself then."""
        reader = None if spec.poisoned else self._row_reader
        if reader is None:
            return None
        memory = np.empty(reader.layout.offsets(spec.num_rows)[1], np.uint8)
        try:
            self._read_rows(reader, spec, 0, spec.num_rows, RowWriter(reader.layout, memory, spec.num_rows))
        except Exception:
            return None
        return reader.layout.assemble(view_batch(reader.layout, memory, spec.num_rows))

    def _read_rows(self, reader: RowReader, spec: BatchSpec, start: int, stop: int, writer: RowWriter) -> None:
        if self.on_row is not None:
            self.on_row(start)
        positions = np.arange(spec.position + start, spec.position + stop, dtype=np.int64)
        keys = sample_keys(self.work.seed, spec.epoch, positions)
        reader.read_into(np.asarray(spec.indices[start:stop], np.int64), keys, writer.arrays(start, stop))

    def _seed(self, derive_key: Callable[[int, int, int], int], spec: BatchSpec) -> None:
        if self._seeder.needs_keys and self.reseeds:
            self._seeder.seed(derive_key(self.work.seed, spec.epoch, spec.position))

    def _samples(self, spec: BatchSpec) -> tuple[list[Any], list[Skipped]]:
        samples: list[Any] = []
        with suppress(SkipSample):  # the rest is made one by one
            if self._getitems is not None:
                self._seed(batch_key, spec)
                return self._getitems([_plain(index) for index in spec.indices]), []
            if not self.work.on_error.skips and not spec.poisoned:
                samples.extend(sample for _, sample in self.rows(spec, 0, spec.num_rows))
                return samples, []
        skipped: list[Skipped] = []
        for row in range(len(samples), spec.num_rows):
            samples += self._sample_or_replacement(spec, row, skipped)
        return samples, skipped

    def _sample_or_replacement(self, spec: BatchSpec, row: int, skipped: list[Skipped]) -> list[Any]:
        """The sample of `row`, or the one that replaces it, or nothing; adds to `skipped` what failed on the way."""
        work, index, failures = self.work, _plain(spec.indices[row]), 0
        key = attempt_key = sample_key(work.seed, spec.epoch, spec.position + row)
        if self.on_row is not None:
            self.on_row(row)
        for attempt in range(_MAX_DROPPED):
            if attempt:
                attempt_key = derive(key, attempt)
                index = KeyedRandom(attempt_key).integers(0, work.replace_from or 0)
            self._set_key(attempt_key)
            try:
                if attempt == 0 and row in spec.poisoned:
                    raise RuntimeError("this sample kills its worker")
                return [self._dataset[index]]
            except SkipSample:
                pass
            except Exception as error:
                skipped.append(self._skipped(error, spec, row, index))
                failures += 1
                if not work.on_error.skips or failures == _MAX_ATTEMPTS:
                    raise
            if work.replace_from is None:
                return []
        raise DataError(
            f"a filter (or SkipSample) dropped {_MAX_DROPPED:,} samples in a row that were drawn to replace sample "
            f"{_plain(spec.indices[row])}; is there one that it keeps? Where few are wanted, select them beforehand."
        )

    def _skipped(self, error: Exception, spec: BatchSpec, row: int, index: Any) -> Skipped:
        """What the ledger gets to know of a failed sample; the error gets to know which sample it was."""
        path = sample_path(self._dataset, index)
        note_sample(error, index, path)
        return Skipped(spec.epoch, spec.position + row, index, path, f"{type(error).__name__}: {error}")

    def _set_key(self, key: int) -> None:
        if self._seeder.needs_keys and self.reseeds:
            self._seeder.seed(key)

    # Rows

    def rows(self, spec: BatchSpec, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """The samples of rows ``[start, stop)``, each made under its own key. Errors name the sample."""
        dataset, seed = self._dataset, self._seeder.seed
        indices = spec.indices[start:stop]
        if isinstance(indices, np.ndarray):
            indices = indices.tolist()
        keys: list[int] | None = None
        if self._seeder.needs_keys and self.reseeds:
            positions = np.arange(spec.position + start, spec.position + stop, dtype=np.int64)
            keys = sample_keys(self.work.seed, spec.epoch, positions).tolist()
        on_row = self.on_row
        for offset, index in enumerate(indices):
            if on_row is not None:
                on_row(start + offset)
            if keys is not None:
                seed(keys[offset])
            try:
                sample = dataset[index]
            except Exception as error:
                note_sample(error, index, sample_path(dataset, index))
                raise
            yield start + offset, sample

    def write_rows(self, spec: BatchSpec, start: int, stop: int, open_writer: OpenWriter) -> Layout:
        """Writes rows ``[start, stop)`` into the batch's memory; the layout that they were written with.

        Raises:
            MisfitError: a row does not fit the others, or can only be collated.
        """
        set_current_epoch(spec.epoch)
        reader = self._row_reader
        if reader is not None:
            self._read_rows(reader, spec, start, stop, open_writer(reader.layout, spec.num_rows))
            return reader.layout
        if not self._seeder.needs_keys:
            return self._write_indexed(spec, start, stop, open_writer)
        writer: RowWriter | None = None
        first, samples = start, []
        for row, sample in self.rows(spec, start, stop):
            if writer is None:
                writer = self._open_fitting(spec, row, sample, open_writer)
            samples.append(sample)
            if len(samples) >= writer.rows_at_once or row == stop - 1:
                writer.write(first, samples)
                first, samples = row + 1, []
        if self._layout is None:
            raise MisfitError
        return self._layout

    def _write_indexed(self, spec: BatchSpec, start: int, stop: int, open_writer: OpenWriter) -> Layout:
        """As `write_rows`, where a sample is no more than an index into plain data: nothing to seed, nothing to publish."""
        dataset, indices = self._dataset, spec.indices[start:stop]
        samples = [dataset[index] for index in (indices.tolist() if isinstance(indices, np.ndarray) else indices)]
        writer = self._open_fitting(spec, start, samples[0], open_writer)
        writer.write(start, samples)  # they are views: nothing has been read yet
        assert self._layout is not None
        return self._layout

    def _open_fitting(self, spec: BatchSpec, row: int, sample: Any, open_writer: OpenWriter) -> RowWriter:
        """Opens the batch with the layout of the batches before; where the sample does not fit it, with a new one."""
        if self._layout is not None:
            writer = open_writer(self._layout, spec.num_rows)
            try:
                writer.write(row, [sample])
                return writer
            except MisfitError:
                pass
        self._layout = infer_layout(sample)
        if self._layout is None:
            raise MisfitError
        return open_writer(self._layout, spec.num_rows)

    # Streams

    def begin_stream(self, start: StreamStart, epoch: int) -> dict[str, Any] | None:
        """Begins to iterate the dataset, in place of any stream before; its state then, if it has one."""
        self._stream = None  # an iterator that is left ends before the next one begins
        self._stream = Stream(self.work, start, epoch)
        return self._stream.state()

    def _next_of_stream(self, spec: BatchSpec) -> Any:
        if spec.stream is not None:
            self.begin_stream(spec.stream, spec.epoch)
        if self._stream is None:  # its beginning failed, and the loop went on
            raise ExhaustedError
        return self._stream.next()


def _getitems(dataset: Any) -> Callable[[list[Any]], list[Any]] | None:
    """How `dataset` reads samples together, where it does: torch's wrappers have the method even if what they wrap has not."""
    return getattr(dataset, "__getitems__", None) if _reads_together(dataset) else None


def _reads_together(dataset: Any) -> bool:
    wrapped = wrapped_datasets(dataset)
    return any(map(_reads_together, wrapped)) if wrapped else hasattr(dataset, "__getitems__")


def _transform_batch(dataset: Any) -> Callable[[Any], Any] | None:
    """What a dataset does to whole batches; a Subset of it does so too."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return getattr(dataset, "transform_batch", None)


def _plain(index: Any) -> Any:
    return int(index) if isinstance(index, np.integer) else index


def sample_path(dataset: Any, index: Any) -> str | None:
    """The file of a sample, where its dataset knows one: `sample_path(index)`, or torchvision's ``samples``."""
    try:
        if hasattr(dataset, "sample_path"):
            path = dataset.sample_path(index)
            return None if path is None else str(path)
        if type(dataset) is Subset:
            return sample_path(dataset.dataset, dataset.indices[index])
        if type(dataset) is ConcatDataset:
            part = bisect_right(dataset.cumulative_sizes, index)
            return sample_path(dataset.datasets[part], index - (dataset.cumulative_sizes[part - 1] if part else 0))
        path = dataset.samples[index][0]
    except Exception:  # naming a sample must never hide the error that it is named for
        return None
    return path if isinstance(path, str) else None
