"""Accelerate, and Hugging Face's Trainer, which rests on it: a loader that their ``prepare`` keeps.

``accelerator.prepare(loader)`` takes a DataLoader apart and builds one of torch's own from its samplers. That keeps the order
on one rank, but neither the loader's workers, nor its state, nor its samples' random state. `AcceleratedLoader` keeps all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset

from stoker.errors import ArgumentError, MissingPackageError
from stoker.loader import Loader

try:
    from accelerate import PartialState
    from accelerate.data_loader import DataLoaderShard
    from accelerate.utils import send_to_device
except ImportError as error:
    raise MissingPackageError("AcceleratedLoader needs accelerate: pip install stoker[integrations]") from error

Place = tuple[int, int]  # (epoch, step)


class AcceleratedLoader(DataLoaderShard):  # type: ignore[misc]
    """A `Loader` in the form that Accelerate's ``prepare`` leaves as it is.

    ::

        loader = AcceleratedLoader(stoker.Loader(dataset, 32, shuffle=True, seed=7))
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    The batches are the loader's own, split over ranks by it, moved to the accelerator's device. ``accelerator.save_state`` saves
    the place in the epoch and ``load_state`` goes on from there: nothing is to be skipped. ``skip_first_batches``, which Hugging
    Face's Trainer resumes by, goes to its place by arithmetic; it needs a loader with a given seed. ``set_epoch`` keeps a
    place that was loaded. ``accelerator.accumulate`` sees the epoch's end.

    Args:
        loader: one with a length. It belongs to this object from now on.
        device_placement: whether to move batches to the accelerator's device.

    Raises:
        ArgumentError: the loader has no length.
        MissingPackageError: accelerate is not installed.
    """

    def __init__(self, loader: Loader, *, device_placement: bool = True) -> None:
        try:
            len(loader)
        except TypeError as error:
            raise ArgumentError("AcceleratedLoader needs a loader with a length; this one has none.") from error
        super().__init__(
            _Batches(loader),
            device=PartialState().device if device_placement else None,
            batch_sampler=_Steps(loader),
            collate_fn=_the_only,
            _drop_last=loader.drop_last,
        )
        self.loader = loader
        self.use_stateful_dataloader = True  # what save_state and load_state look at
        self._is_accelerate_prepared = True  # what prepare looks at

    def __iter__(self) -> Iterator[Any]:
        self.begin()
        self.iteration, first = self.loader._next.epoch, self.loader._next.step
        try:
            for step, batch in enumerate(self.loader, first + 1):
                self.end_of_dataloader = step == len(self.loader)
                yield batch if self.device is None else send_to_device(batch, self.device)
        finally:
            self.end()

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of `epoch`; from the place where a state was loaded, if that lies in it."""
        self.iteration = epoch
        self.loader.set_epoch(epoch)
        self.batch_sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The loader's."""
        return self.loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The loader's."""
        self.loader.load_state_dict(state_dict)

    @property
    def total_batch_size(self) -> int:
        """Samples in a step of all ranks; Accelerate's metrics leave out what is beyond the dataset's end."""
        return (self.loader.batch_size or 1) * int(PartialState().num_processes)


class _Steps:
    """A batch sampler of places: each is worth one batch. What Accelerate rebuilds loaders around."""

    drop_last = False

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._epoch = 0
        self.batch_size = loader.batch_size
        self.sampler = self  # `set_epoch` is looked for there

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[Place]]:
        for step in range(len(self._loader)):
            yield [(self._epoch, step)]

    def __len__(self) -> int:
        return len(self._loader)


class _Batches(Dataset[Any]):
    """The loader's batch at a place. Places in a row are one run of the loader, with its workers and its prefetching."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._next: Place | None = None
        self._iterator: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return len(self._loader.dataset)  # type: ignore[arg-type]

    def __getitem__(self, place: Place) -> Any:
        if place != self._next:
            self._go_to(*place)
        batch, self._next = next(self._iterator), (place[0], place[1] + 1)
        if self._next[1] == len(self._loader):
            next(self._iterator, None)  # ends the epoch, and with it the loader's work for it
        return batch

    def _go_to(self, epoch: int, step: int) -> None:
        if step and self._loader._seed.known is None:
            raise ArgumentError(
                "to skip batches, the loader must have the seed of the run that it goes on with; pass Loader(seed=...)."
            )
        state = self._loader.state_dict()
        samples = min(step * state["global_batch_size"], state["length"] or step)
        self._loader.load_state_dict({**state, "epoch": epoch, "samples": samples, "delivered": []})
        self._iterator = iter(self._loader)


def _the_only(batches: list[Any]) -> Any:
    return batches[0]
