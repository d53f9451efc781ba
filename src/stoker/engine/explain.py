"""Says in words how a loader will make its batches, as a database prints a query plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoker.engine.batch_plan import BatchPlan
from stoker.engine.fetch import Fetcher
from stoker.engine.plan import OrderPlan, Plan, SamplerPlan
from stoker.engine.protocol import Work
from stoker.engine.session import Choice, Equipment, choose

_MAX_COUNTS = 20


def explain_plan(
    plan: Plan, work: Work, equipment: Equipment, epoch: int, device: str = "", on_device: Sequence[str] = ()
) -> str:
    """A few lines: order, read, transform, collate, executor, prefetch, failures; where there is a device, how batches get there.

    `on_device` are the operations that run there.
    """
    choice, fetcher = choose(work, equipment), Fetcher(work)
    lines = {
        "order": _order(plan, epoch),
        **_expected(plan),
        "read": f"{type(work.dataset).__name__}: {_read(work, fetcher)}",
        **_transforms(work.dataset, on_device),
        "collate": _collate(work, fetcher, choice),
        "randomness": _randomness(work, fetcher),
        "executor": f"{choice.name}{_crew(choice, equipment)}: {choice.reason}",
        "prefetch": _prefetch(choice, equipment),
        **({"device": device} if device else {}),
        "on error": work.on_error.action,
    }
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def _order(plan: Plan, epoch: int) -> str:
    if isinstance(plan, OrderPlan | BatchPlan):
        return plan.describe(epoch)
    return (
        f"{type(plan.sampler).__name__}, obeyed as it is"
        if isinstance(plan, SamplerPlan)
        else "as the iterable dataset yields"
    )


def _expected(plan: Plan) -> dict[str, str]:
    """How many samples of each class, or of each dataset of a mixture, an epoch is expected to hold, where the order knows them."""
    counts = plan.order.expected_counts() if isinstance(plan, OrderPlan | BatchPlan) else {}
    if not counts:
        return {}
    shown = [f"{name}: {count:,.1f}".removesuffix(".0") for name, count in counts.items()][:_MAX_COUNTS]
    more = f", and {len(counts) - _MAX_COUNTS:,} more" if len(counts) > _MAX_COUNTS else ""
    return {"expected": f"{', '.join(shown)}{more} per epoch"}


def _read(work: Work, fetcher: Fetcher) -> str:
    if work.iterable:
        return "a stream; every worker has its own copy of it"
    if fetcher.is_bulk:
        return "in bulk, one gather per batch"
    return "in bulk, through __getitems__" if hasattr(work.dataset, "__getitems__") else "sample by sample"


def _transforms(dataset: Any, on_device: Sequence[str]) -> dict[str, str]:
    describe, batch = getattr(dataset, "describe_transforms", None), getattr(dataset, "transform_batch", None)
    if describe is None:
        return {}
    placed = [*describe(), *([] if batch is None else [(f"batch: {batch!r}", "batch")])]
    placed += [(text, "device") for text in on_device]
    return {"transform": " → ".join(f"{name} ({place})" for name, place in placed)}


def _collate(work: Work, fetcher: Fetcher, choice: Choice) -> str:
    if not work.batched:
        return "none: single samples"
    if fetcher.is_bulk:
        return "none needed"
    if fetcher.writes_rows and choice.name != "inline":
        return "rows are written straight into the batch by all workers together"
    return f"whole batches, by {getattr(work.collate_fn, '__qualname__', work.collate_fn)}"


def _randomness(work: Work, fetcher: Fetcher) -> str:
    if work.iterable or work.reseed == "worker":
        return "seeded per worker, as torch does"
    return "random, numpy.random and torch are seeded for every sample" if fetcher.draws_global else "by key, or none"


def _crew(choice: Choice, equipment: Equipment) -> str:
    kinds = {"process": "workers", "thread": "threads"}
    return f", {equipment.num_workers} {kinds[choice.name]}" if choice.name in kinds else ""


def _prefetch(choice: Choice, equipment: Equipment) -> str:
    if choice.name == "inline":
        return "nothing ahead of the loop"
    memory = equipment.limits.memory_bytes
    limit = "" if memory is None else f", within {memory / 2**20:,.0f} MiB"
    return f"at most {equipment.limits.prefetch} batches{limit}"
