"""From progress to a state and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stoker.engine.batch_plan import BatchPlan
from stoker.engine.plan import OrderPlan, Plan, StreamPlan
from stoker.engine.progress import Progress
from stoker.engine.stream import StreamProgress
from stoker.errors import StateError
from stoker.order.state import LoaderState


@dataclass(frozen=True)
class Loaded:
    """What a state says."""

    seed: int
    progress: Progress


def describe_state(plan: Plan, seed: int, progress: Progress, dataset: dict[str, Any]) -> dict[str, Any]:
    """The state of a loader whose newest epoch is at `progress`."""
    length = dataset.get("length") or 0
    if isinstance(plan, OrderPlan | BatchPlan):
        batch, order, sampler = plan.global_batch_size, plan.order.describe(), None
        done = plan.consumed(progress.epoch, progress.step)
    else:
        batch, done, order = 1, progress.step, None
        streams = progress.streams
        sampler = {"state": progress.sampler_state if streams is None else streams.to_state()}
    return LoaderState(
        seed=seed,
        epoch=progress.epoch,
        samples=done,
        global_batch_size=batch,
        length=length,
        order=order,
        dataset=dataset,
        sampler=sampler,
        delivered=sorted(progress.ahead),
    ).to_dict()


def read_state(value: dict[str, Any], plan: Plan, seed: int | None, dataset: dict[str, Any]) -> Loaded:
    """Checks a state against the loader it is to be loaded into.

    Raises:
        StateError: it is damaged, or of another dataset, order or seed.
    """
    state = LoaderState.from_dict(value)
    if state.dataset != dataset:
        raise StateError(
            f"the state is of another dataset: it was taken from {state.dataset}, and this loader has {dataset}."
        )
    if seed is not None and state.seed != seed:
        raise StateError(
            f"the state was taken with seed {state.seed}, and this loader was given seed {seed}; leave seed out, or give the same."
        )
    if isinstance(plan, OrderPlan | BatchPlan) != (state.order is not None):
        taken, here = (
            ("Stoker's own order", "a sampler") if state.order is not None else ("a sampler", "Stoker's own order")
        )
        raise StateError(f"the state was taken from a loader with {taken}, and this loader has {here}.")
    if not isinstance(plan, OrderPlan | BatchPlan):
        sampler_state = (state.sampler or {}).get("state")
        if isinstance(plan, StreamPlan):
            streams = None if sampler_state is None else StreamProgress.from_state(sampler_state, plan.num_workers)
            return Loaded(state.seed, Progress(state.epoch, state.samples, streams=streams))
        return Loaded(state.seed, Progress(state.epoch, state.samples, set(state.delivered), sampler_state))
    assert state.order is not None
    _check_order(state.order, plan.order.describe(state.seed))
    if state.delivered and state.global_batch_size != plan.global_batch_size:
        raise StateError(
            f"the state was taken out of order at a global batch size of {state.global_batch_size}, and can only be loaded at that; "
            f"this loader's is {plan.global_batch_size}."
        )
    step = plan.step_of(state.epoch, state.samples)
    return Loaded(state.seed, Progress(state.epoch, step, set(state.delivered)))


def _check_order(taken: dict[str, Any], here: dict[str, Any]) -> None:
    if taken.get("name") != here["name"]:
        raise StateError(
            f"the state was taken in {taken.get('name')} order, and this loader's order is {here['name']}."
        )
    differing = sorted(name for name in {*taken, *here} if taken.get(name) != here.get(name))
    if differing:
        given, own = ({name: order.get(name) for name in differing} for order in (taken, here))
        raise StateError(
            f"the state was taken in another {here['name']} order: it had {given}, and this loader's has {own}."
        )
