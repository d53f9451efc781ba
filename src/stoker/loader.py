"""Loader: torch's DataLoader with the same batches on every run, resumable at any of them. Puts the rooms together."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    IterDataPipe,
    MapDataPipe,
    Sampler,
    default_collate,
)
from torch.utils.data.dataloader import _sharding_worker_init_fn

from stoker.batch.pictures import pictures_of
from stoker.data.fingerprint import fingerprint
from stoker.data.placement import DeviceWork, place_on_device
from stoker.device.delivery import DeviceDelivery
from stoker.device.lanes import Lane, as_device, lane_for
from stoker.engine.arguments import check_batching, check_workers
from stoker.engine.batch_plan import BatchPlan
from stoker.engine.budget import available_memory_bytes, cpu_budget, parse_bytes
from stoker.engine.delivery import Limits
from stoker.engine.explain import explain_plan
from stoker.engine.failures import ErrorPolicy
from stoker.engine.fetch import Fetcher
from stoker.engine.iterator import LoaderIterator, can_pin
from stoker.engine.order_source import Given, LateBatches, LateOrder, OrderSource, check_batches, check_order
from stoker.engine.plan import ElementSampler, OrderPlan, Plan, SamplerPlan, StreamPlan, remaining
from stoker.engine.progress import Meter, Progress
from stoker.engine.protocol import BatchSpec, Work
from stoker.engine.ranks import SharedSeed, current_rank
from stoker.engine.read_ahead import with_read_ahead
from stoker.engine.resume import describe_state, read_state
from stoker.engine.session import Choice, Crew, Equipment, choose
from stoker.engine.stream import ReportedLength
from stoker.errors import ArgumentError
from stoker.order.samplers import OrderBatchSampler, OrderSampler, order_sampler
from stoker.order.split import Split


class Loader(DataLoader[Any]):
    """Loads batches of a dataset: torch's ``DataLoader`` with a few more arguments, by keyword.

    Args:
        seed: decides order and randomness. Drawn once from `generator` or torch's global generator when not given.
        executor: "auto", "inline" (in the loop's thread), "thread" or "process". Results do not depend on it.
        on_error: "raise", "skip", or a `stoker.ErrorPolicy`: what becomes of samples that raise.
        reseed: "sample" gives every sample randomness of its own, whoever makes it; "worker" seeds workers as torch
            does.
        tail: what becomes of a last batch with fewer rows than there are ranks: "pad" gives ranks without a row a
            repeated one (marked in `valid`), "drop" leaves that step out.
        order: an order of ``stoker.order``, or a function of (samples of the dataset, seed) that makes one, so that the
            loader's seed decides. It takes the place of `shuffle`, and is split over ranks; an order that makes its own
            batches takes the place of `batch_size` too. A skipped sample's row is left out.
        virtual_epoch: batches per epoch, on each rank, of an endless stream: every sample once, then all again, shuffled
            anew, across the ends of epochs. Where the order makes its own batches, steps of its micro-batches.
        memory_limit: bytes (or "2GiB") that batches in the making may take; by default half of what is available.
        device: where batches are handed out: "cuda", "cuda:1", "cpu" … They are copied while the loop computes, and Stoker's
            operations on pixels and whole batches run there, behind the copy.

    `snapshot_every_n_steps` is taken for the sake of programs written for torchdata's ``StatefulDataLoader``: here the
    state is exact after every batch, whatever it says.

    `num_workers` also takes "auto": the CPUs of this process. For a map-style dataset the batches are a function of
    (dataset, seed, epoch, step) alone. Each ``iter()`` begins the next epoch. One loader is used by one thread at a
    time; it pickles.

    Raises:
        ArgumentError (ValueError): an argument breaks a rule.
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int | str = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        snapshot_every_n_steps: int | None = 1,
        seed: int | None = None,
        executor: str = "auto",
        on_error: str | ErrorPolicy = "raise",
        reseed: str = "sample",
        tail: str = "pad",
        memory_limit: int | str | None = None,
        order: Given = None,
        virtual_epoch: int | None = None,
        device: Any = None,
    ) -> None:
        check_batching(batch_size, batch_sampler, reseed, tail)
        check_workers(num_workers, prefetch_factor, timeout)
        if sampler is not None and shuffle:
            raise ArgumentError(
                "sampler option is mutually exclusive with shuffle: a sampler decides the order by itself; got both. "
                "Leave shuffle out, or shuffle in the sampler."
            )
        self.snapshot_every_n_steps = snapshot_every_n_steps
        self.executor = executor
        self.on_error = on_error
        self.reseed = reseed
        self.tail = tail
        self.memory_limit = memory_limit
        self.order = order
        self.virtual_epoch = virtual_epoch
        self.device = None if device is None else as_device(device)
        collates = batch_size is not None or batch_sampler is not None
        stacks = collates and collate_fn in (None, default_collate) and reseed == "sample"
        places = self.device is not None and stacks and not isinstance(dataset, IterableDataset)
        self._placed = place_on_device(dataset) if places else (dataset, DeviceWork())
        self._lane: Lane | None = None
        self._policy = ErrorPolicy.of(on_error)
        self._memory_bytes = None if memory_limit is None else parse_bytes(memory_limit)
        self._seed = SharedSeed(seed, generator)
        vars(self)["seed"] = seed  # the property hides it; Lightning builds a loader anew from vars()
        self._shuffles = bool(shuffle)
        self._own_order = sampler is None and batch_sampler is None and not isinstance(dataset, IterableDataset)
        self._sampler: Any = None
        self._crew = Crew()
        self._next = Progress(epoch=0)
        self._newest: Progress | None = None
        self._newest_iterator: weakref.ref[LoaderIterator] | None = None
        self._meter = Meter()
        if order is not None or virtual_epoch is not None:
            check_order(order, virtual_epoch, shuffle, own=self._own_order)
        if self._own_order:
            self._source = OrderSource(order, len(dataset), self._seed, shuffled=self._shuffles)  # type: ignore[arg-type]
            check_batches(self._source, batch_size)
            plan = self._order_plan(batch_size, drop_last)
            if isinstance(plan, BatchPlan):
                batch_sampler = OrderBatchSampler(plan.order, plan.rank, plan.world_size, tail)
            else:
                sampler = self._order_sampler(dataset, plan)
            shuffle = None
        super().__init__(
            dataset, batch_size, shuffle, sampler, batch_sampler,
            cpu_budget() if num_workers == "auto" else int(num_workers),
            collate_fn, pin_memory, drop_last, timeout, worker_init_fn, multiprocessing_context, generator,
            prefetch_factor=prefetch_factor, persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device, in_order=in_order,
        )  # fmt: skip
        self._attach()
        choose(self._work(seed=0), self._equipment())  # says at once what cannot work

    # The parts

    @property
    def seed(self) -> int:
        """The seed of order and randomness; drawn now where none was given. With several ranks, a collective operation."""
        return self._seed.value

    @property
    def sampler(self) -> Any:
        """The user's own, else one of torch's kinds for the ranks that there are now: a process group may come after the loader."""
        shown = self._sampler
        if isinstance(shown, OrderSampler) and current_rank() != (shown.split.rank, shown.split.world_size):
            self._sampler = self._order_sampler(self.dataset, self._plan())
            if self.batch_sampler is not None:
                self.batch_sampler.sampler = self._sampler  # type: ignore[attr-defined]
            self._attach()
        return self._sampler

    @sampler.setter
    def sampler(self, value: Any) -> None:
        self._sampler = value

    def _attach(self) -> None:
        """Loops written for torch choose the epoch by ``loader.sampler.set_epoch(epoch)``: Lightning's, and those for several ranks."""
        if isinstance(self._sampler, OrderSampler):
            self._sampler.on_set_epoch = weakref.WeakMethod(self._follow_sampler)

    def _follow_sampler(self, epoch: int) -> None:
        """Lightning calls ``iter()`` first when it resumes: so an iterator that has given nothing yet still changes its epoch."""
        newest, iterator = self._newest, None if self._newest_iterator is None else self._newest_iterator()
        if newest is not None and newest.last is None and not newest.ended and iterator is not None:
            if newest.epoch != epoch:
                self._newest, self._next = Progress(epoch), Progress(epoch + 1)
                iterator.restart(self._specs(self._plan(), self._newest), self._newest)
        elif self._next.epoch != epoch:
            self._next = Progress(epoch)

    @property
    def _is_accelerate_prepared(self) -> bool:
        """Accelerate asks for this before it builds another loader from this one, which would be split over ranks twice."""
        if self._own_order and (ranks := current_rank()[1]) > 1:
            raise ArgumentError(
                f"this loader's batches are those of one rank of {ranks} already, and Accelerate would split them once more; "
                "give it stoker.integrations.accelerate.AcceleratedLoader(loader) instead."
            )
        return False

    def _order_plan(self, batch_size: int | None, drop_last: bool) -> OrderPlan | BatchPlan:
        source, (rank, world_size), virtual = self._source, current_rank(), self.virtual_epoch
        if source.makes_batches:
            stream = None if virtual is None else virtual * source.micro_batches
            return BatchPlan(LateBatches(source, stream), rank, world_size, self.tail)
        stream = None if virtual is None else virtual * (batch_size or 1) * world_size
        order = LateOrder(source, stream)
        split = Split(len(order), batch_size or 1, rank, world_size, drop_last, self.tail)
        return OrderPlan(order, split)

    def _order_sampler(self, dataset: Any, plan: Plan) -> OrderSampler:
        assert isinstance(plan, OrderPlan)  # one of batches is shown as a batch_sampler
        return order_sampler(dataset, plan.order, plan.split, self._shuffles if self.order is None else None)

    def _plan(self) -> Plan:
        if self._own_order:
            if self.order is None:
                self._source.num_samples = len(self.dataset)  # type: ignore[arg-type]
            return self._order_plan(self.batch_size, self.drop_last)
        if self._is_iterable:
            return StreamPlan(0 if self._chosen().name == "inline" else self.num_workers)
        sampler = ElementSampler(self.sampler) if self.batch_sampler is None else self.batch_sampler
        return SamplerPlan(sampler, self.seed, current_rank()[0])

    @property
    def _is_iterable(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    def _work(self, seed: int) -> Work:
        return Work(
            dataset=self._placed[0], collate_fn=self.collate_fn, batched=self.batch_sampler is not None,
            stacks_rows=self.collate_fn is default_collate, iterable=self._is_iterable,
            batch_size=self.batch_size, drop_last=self.drop_last, seed=seed, reseed=self.reseed, on_error=self._policy,
            replace_from=len(self.dataset) if self._own_order and self._shuffles else None,  # type: ignore[arg-type]
            num_workers=self.num_workers, worker_init_fn=_worker_init_fn(self.dataset, self.worker_init_fn),
        )  # fmt: skip

    def _equipment(self) -> Equipment:
        memory = self._memory_bytes
        limits = Limits(
            prefetch=max(1, (self.prefetch_factor or 1) * self.num_workers),
            memory_bytes=available_memory_bytes() // 2 if memory is None else memory,
            timeout_s=self.timeout or None,
            in_order=self.in_order,
        )
        return Equipment(self.executor, self.num_workers, limits, self.multiprocessing_context, self.persistent_workers)

    def _chosen(self) -> Choice:
        return choose(self._work(seed=0), self._equipment())

    # The loop

    def __iter__(self) -> LoaderIterator:  # type: ignore[override]
        progress, self._next = self._next, Progress(self._next.epoch + 1)
        plan = self._plan()
        specs = self._specs(plan, progress)
        session = self._crew.engage(lambda: self._work(self.seed), self._equipment(), progress.epoch)
        self._newest, self._meter = progress, Meter()
        reported = None
        if self._is_iterable:
            reported = ReportedLength(self.dataset, self._IterableDataset_len_called, self.num_workers)
        pins = self.device is None and self.pin_memory and can_pin(self.pin_memory_device)
        iterator = LoaderIterator(
            self._crew, session, specs, progress, self._meter, pins=pins, wrap=self._on_device, reported=reported,
            length=plan.num_steps(progress.epoch),
        )  # fmt: skip
        self._newest_iterator = weakref.ref(iterator)
        return iterator

    def _specs(self, plan: Plan, progress: Progress) -> Iterator[BatchSpec]:
        if not isinstance(plan, OrderPlan | BatchPlan):
            return remaining(plan, progress, endless=False)
        specs = remaining(plan, progress, endless=self.persistent_workers)
        return with_read_ahead(specs, self.dataset, plan.rows_per_batch(progress.epoch))

    def _on_device(self, delivery: Any) -> Any:
        if self.device is None:
            return delivery
        return DeviceDelivery(delivery, lane=self._device_lane(), work_on=self._device_work)

    def _device_lane(self) -> Lane:
        assert self.device is not None
        if self._lane is None:
            self._lane = lane_for(self.device)
        return self._lane

    def _device_work(self, spec: BatchSpec) -> Callable[[Any], Any] | None:
        """What is done on the device to that batch."""
        _, work = self._placed
        where = {"epoch": spec.epoch, "position": spec.position, "num_rows": spec.num_rows}
        return partial(work.run, seed=self.seed, **where) if work else None

    def __len__(self) -> int:
        """Batches in an epoch, on this rank; as torch's where the dataset is iterable or the sampler the user's."""
        plan = self._plan() if self._own_order else None
        steps = None if plan is None else plan.num_steps(self._progress().epoch)
        return super().__len__() if steps is None else steps

    def batch(self, epoch: int, step: int) -> Any:
        """Batch `step` of `epoch` on this rank, made here and now: for debugging. The loop's state and random state stay as they are.

        Raises:
            ArgumentError: the epoch has no such batch, or the dataset is iterable.
        """
        plan = self._plan()
        steps = plan.num_steps(epoch)
        if self._is_iterable:
            raise ArgumentError("an iterable dataset has no batch that could be had at will; iterate over the loader.")
        if step < 0 or epoch < 0 or (steps is not None and step >= steps):
            raise ArgumentError(f"step must be in [0, {steps}) and epoch at least 0; got step={step}, epoch={epoch}.")
        fetcher = Fetcher(self._work(self.seed))
        with fetcher.preserved():
            spec = next(plan.specs(epoch, step))
            batch = fetcher.fetch(spec)[0]
        if self.device is None:
            return batch
        lane = self._device_lane()
        return lane.receive(lane.send(batch, self._device_work(spec)))

    def preview(self, path: str | os.PathLike[str], num_samples: int = 32) -> None:
        """Draws the next samples of this rank as the model will get them, augmented and normalised, on one picture, written to `path`.

        The loop's state and random state stay as they are. Batches are made here and now, up to the epoch's end.

        Raises:
            ArgumentError: `num_samples` is less than 1, `path` is not that of an image, or the dataset is iterable.
            DataError: there is no image in the batches; says what is.
        """
        from stoker.image.sheet import contact_sheet, save_sheet

        if num_samples < 1:
            raise ArgumentError(f"num_samples must be at least 1; got {num_samples}.")
        pictures: list[tuple[Any, str]] = []
        for batch in self._upcoming():
            is_batched = self.batch_sampler is not None
            pictures += pictures_of(batch, getattr(self.dataset, "classes", ()), is_batched=is_batched)
            if len(pictures) >= num_samples:
                break
        if not pictures:
            raise ArgumentError("an epoch of this loader has no batches, so there is nothing to preview.")
        images, captions = zip(*pictures[:num_samples], strict=True)
        save_sheet(contact_sheet(images, captions), path)

    def _upcoming(self) -> Iterator[Any]:
        """The batches to come of the epoch that is running, or of the next one; made as they are asked for."""
        progress = self._progress()
        steps = self._plan().num_steps(progress.epoch)
        epoch, step = progress.epoch, progress.step
        if steps is not None and step >= steps:
            epoch, step = epoch + 1, 0
            steps = self._plan().num_steps(epoch)
        for number in count(step) if steps is None else range(step, steps):
            try:
                batch = self.batch(epoch, number)
            except StopIteration:  # the end, where a user's sampler could not say its length
                return
            yield batch

    # The state

    def _progress(self) -> Progress:
        return self._next if self._newest is None or self._newest.ended else self._newest

    def state_dict(self) -> dict[str, Any]:
        """Where the newest iterator is, as of the last batch handed out: a small dict that json can hold, the same on all ranks.

        Before the first batch it stands for the beginning, after an epoch's end for the beginning of the next one. Load
        it into a loader of the same dataset and arguments; the number of workers, the executor and, at one global batch
        size, the number of ranks may differ.
        """
        return describe_state(self._plan(), self.seed, self._progress(), fingerprint(self.dataset))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next ``iter()`` goes on where `state` was taken.

        Costs the same at any place of any dataset, except that a user's sampler without a state, or an iterable
        dataset, has to be run up to there.

        Raises:
            StateError (ValueError): the state is damaged, or belongs to another dataset, order or seed; says which.
        """
        loaded = read_state(state, self._plan(), self._seed.given, fingerprint(self.dataset))
        if self._is_iterable or loaded.seed != self._seed.known:
            self._crew.close()  # persistent workers have another seed, or have used up their copies of the dataset
        self._seed.set(loaded.seed)
        self._next, self._newest = loaded.progress, None

    def set_epoch(self, epoch: int) -> None:
        """The next ``iter()`` begins `epoch`; where a state of that epoch was just loaded, it goes on from there.

        Passed on to a user's sampler that has a `set_epoch` of its own.
        """
        if epoch < 0:
            raise ArgumentError(f"epoch must be at least 0; got {epoch}.")
        if self._newest is not None or epoch != self._next.epoch:
            self._next, self._newest = Progress(epoch), None
        parts: tuple[Any, ...] = () if self._own_order else (self.sampler, self.batch_sampler)
        for part in parts:
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    @property
    def valid(self) -> torch.Tensor:
        """bool [rows of the last batch handed out]: False for rows that repeat another rank's, at an epoch's end."""
        last = None if self._newest is None else self._newest.last
        return torch.ones(0, dtype=torch.bool) if last is None else torch.full((last.num_rows,), last.valid)

    # What it does and how it goes

    def stats(self) -> dict[str, Any]:
        """Figures of the newest iterator: batches, samples, samples_per_s, wait_s (time the loop waited), wait_share, executor."""
        return self._meter.summary() | {"executor": self._chosen().name, "num_workers": self.num_workers}

    def explain(self) -> str:
        """How batches will be made, in a few lines: order, placement, executor and why, what is prefetched at most."""
        device = "" if self.device is None else f"{self.device}: {self._device_lane().describe()}"
        work, equipment, epoch = self._work(seed=0), self._equipment(), self._progress().epoch
        return explain_plan(self._plan(), work, equipment, epoch, device, self._placed[1].describe())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crew": None, "_meter": None, "_lane": None, "_newest_iterator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._crew, self._meter = Crew(), Meter()
        self._attach()


def _worker_init_fn(dataset: Any, own: Callable[[int], Any] | None) -> Callable[[int], Any] | None:
    """A user's function; for torch's data pipes, after one that gives each worker its shard."""
    if not isinstance(dataset, IterDataPipe | MapDataPipe):
        return own
    rank, world_size = current_rank()
    return partial(_sharding_worker_init_fn, own, world_size, rank)
