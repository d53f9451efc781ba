"""Loader: torch's DataLoader with the same batches on every run, resumable at any of them. Puts the rooms together."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from stoker.batch.pictures import pictures_of
from stoker.data.fingerprint import fingerprint
from stoker.engine.budget import available_memory_bytes, cpu_budget, parse_bytes
from stoker.engine.delivery import Limits
from stoker.engine.explain import explain_plan
from stoker.engine.failures import ErrorPolicy
from stoker.engine.fetch import Fetcher
from stoker.engine.iterator import LoaderIterator, can_pin
from stoker.engine.plan import ElementSampler, LateOrder, OrderPlan, Plan, SamplerPlan, StreamPlan, remaining
from stoker.engine.progress import Meter, Progress
from stoker.engine.protocol import BatchSpec, Work
from stoker.engine.ranks import SharedSeed, current_rank
from stoker.engine.read_ahead import with_read_ahead
from stoker.engine.resume import describe_state, read_state
from stoker.engine.session import Choice, Crew, Equipment, choose
from stoker.errors import ArgumentError
from stoker.order.samplers import order_sampler
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
        memory_limit: bytes (or "2GiB") that batches in the making may take; by default half of what is available.

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
        seed: int | None = None,
        executor: str = "auto",
        on_error: str | ErrorPolicy = "raise",
        reseed: str = "sample",
        tail: str = "pad",
        memory_limit: int | str | None = None,
    ) -> None:
        _check(batch_size, batch_sampler, num_workers, reseed, tail)
        if sampler is not None and shuffle:
            raise ArgumentError(
                "sampler option is mutually exclusive with shuffle: a sampler decides the order by itself; got both. "
                "Leave shuffle out, or shuffle in the sampler."
            )
        self.executor = executor
        self.on_error = on_error
        self.reseed = reseed
        self.tail = tail
        self.memory_limit = memory_limit
        self._policy = ErrorPolicy.of(on_error)
        self._memory_bytes = None if memory_limit is None else parse_bytes(memory_limit)
        self._seed = SharedSeed(seed, generator)
        vars(self)["seed"] = seed  # the property hides it; Lightning builds a loader anew from vars()
        self._shuffles = bool(shuffle)
        self._own_order = sampler is None and batch_sampler is None and not isinstance(dataset, IterableDataset)
        self._crew = Crew()
        self._next = Progress(epoch=0)
        self._newest: Progress | None = None
        self._newest_iterator: weakref.ref[LoaderIterator] | None = None
        self._sampler: Any = None
        self._meter = Meter()
        if self._own_order:
            plan = self._order_plan(dataset, batch_size, drop_last)
            sampler, shuffle = order_sampler(dataset, plan.order, plan.split, self._shuffles), None
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
        if self._own_order and current_rank() != (self._sampler.split.rank, self._sampler.split.world_size):
            plan = self._order_plan(self.dataset, self.batch_size, self.drop_last)
            self._sampler = order_sampler(self.dataset, plan.order, plan.split, self._shuffles)
            if self.batch_sampler is not None:
                self.batch_sampler.sampler = self._sampler  # type: ignore[attr-defined]
            self._attach()
        return self._sampler

    @sampler.setter
    def sampler(self, value: Any) -> None:
        self._sampler = value

    def _attach(self) -> None:
        """Loops written for torch choose the epoch by ``loader.sampler.set_epoch(epoch)``: Lightning's, and those for several ranks."""
        if self._own_order:
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

    def _order_plan(self, dataset: Any, batch_size: int | None, drop_last: bool) -> OrderPlan:
        length, (rank, world_size) = len(dataset), current_rank()
        split = Split(length, batch_size or 1, rank=rank, world_size=world_size, drop_last=drop_last, tail=self.tail)
        return OrderPlan(LateOrder(length, self._seed, shuffled=self._shuffles), split)

    def _plan(self) -> Plan:
        if self._own_order:
            return self._order_plan(self.dataset, self.batch_size, self.drop_last)
        if self._is_iterable:
            return StreamPlan(0 if self._chosen().name == "inline" else self.num_workers)
        sampler = ElementSampler(self.sampler) if self.batch_sampler is None else self.batch_sampler
        return SamplerPlan(sampler, self.seed, current_rank()[0])

    @property
    def _is_iterable(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    def _work(self, seed: int) -> Work:
        return Work(
            dataset=self.dataset, collate_fn=self.collate_fn, batched=self.batch_sampler is not None,
            stacks_rows=self.collate_fn is default_collate, iterable=self._is_iterable,
            batch_size=self.batch_size, drop_last=self.drop_last, seed=seed, reseed=self.reseed, on_error=self._policy,
            replace_from=len(self.dataset) if self._own_order and self._shuffles else None,  # type: ignore[arg-type]
            num_workers=self.num_workers, worker_init_fn=self.worker_init_fn,
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
        plan, skip = self._plan(), progress.step if self._is_iterable else 0
        specs = self._specs(plan, progress)
        session = self._crew.engage(lambda: self._work(self.seed), self._equipment(), progress.epoch)
        self._newest, self._meter = progress, Meter()
        pins = self.pin_memory and can_pin()
        iterator = LoaderIterator(self._crew, session, specs, progress, self._meter, skip=skip, pins=pins)
        self._newest_iterator = weakref.ref(iterator)
        return iterator

    def _specs(self, plan: Plan, progress: Progress) -> Iterator[BatchSpec]:
        endless = isinstance(plan, OrderPlan) and self.persistent_workers
        specs = remaining(plan, progress, endless=endless)
        return with_read_ahead(specs, self.dataset, self.batch_size or 1) if self._own_order else specs

    def __len__(self) -> int:
        """Batches in an epoch, on this rank; as torch's where the dataset is iterable or the sampler the user's."""
        plan = self._plan() if self._own_order else None
        steps = None if plan is None else plan.num_steps()
        return super().__len__() if steps is None else steps

    def batch(self, epoch: int, step: int) -> Any:
        """Batch `step` of `epoch` on this rank, made here and now: for debugging. The loop's state and random state stay as they are.

        Raises:
            ArgumentError: the epoch has no such batch, or the dataset is iterable.
        """
        plan = self._plan()
        steps = plan.num_steps()
        if self._is_iterable:
            raise ArgumentError("an iterable dataset has no batch that could be had at will; iterate over the loader.")
        if step < 0 or epoch < 0 or (steps is not None and step >= steps):
            raise ArgumentError(f"step must be in [0, {steps}) and epoch at least 0; got step={step}, epoch={epoch}.")
        fetcher = Fetcher(self._work(self.seed))
        with fetcher.preserved():
            return fetcher.fetch(next(plan.specs(epoch, step)))[0]

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
        progress, steps = self._progress(), self._plan().num_steps()
        epoch, step = progress.epoch, progress.step
        if steps is not None and step >= steps:
            epoch, step = epoch + 1, 0
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
        loaded = read_state(state, self._plan(), self._seed.known, fingerprint(self.dataset))
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
        return explain_plan(self._plan(), self._work(seed=0), self._equipment(), len(self) if self._own_order else None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crew": None, "_meter": None, "_newest_iterator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._crew, self._meter = Crew(), Meter()
        self._attach()


def _check(batch_size: int | None, batch_sampler: Any, num_workers: int | str, reseed: str, tail: str) -> None:
    if batch_size is not None and batch_sampler is None and (isinstance(batch_size, bool) or batch_size < 1):
        raise ArgumentError(f"batch_size must be at least 1; got {batch_size}.")
    if isinstance(num_workers, str) and num_workers != "auto":
        raise ArgumentError(f"num_workers must be a number or 'auto'; got {num_workers!r}.")
    if reseed not in ("sample", "worker"):
        raise ArgumentError(f"reseed must be 'sample' or 'worker'; got {reseed!r}.")
    if tail not in ("pad", "drop"):
        raise ArgumentError(f"tail must be 'pad' or 'drop'; got {tail!r}.")
