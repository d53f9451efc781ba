"""The resume state: a small versioned dict that json can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from stoker.errors import StateError

VERSION = 1


@dataclass(frozen=True)
class LoaderState:
    """Where a loader is. The same size at any place, and the same on all ranks.

    Attributes:
        seed: of order and randomness.
        epoch: the epoch that is being read.
        samples: global positions of it that were consumed, over all ranks (batches, where a user's sampler decides).
        global_batch_size: rows of one step over all ranks when the state was taken.
        length: samples in the dataset.
        order: the order's description; None where a user's sampler or an iterable dataset decides.
        dataset: the dataset's fingerprint.
        sampler: a user's sampler's state, if it has one.
        delivered: steps beyond `samples` that were handed out already, with ``in_order=False``.
    """

    seed: int
    epoch: int
    samples: int
    global_batch_size: int
    length: int
    order: dict[str, Any] | None
    dataset: dict[str, Any]
    sampler: dict[str, Any] | None = None
    delivered: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The state as a dict that json can hold."""
        return {"version": VERSION, **asdict(self)}

    @staticmethod
    def from_dict(value: Any) -> LoaderState:
        """The inverse of `to_dict`.

        Raises:
            StateError: the value is no state, is of another version, or a field is missing or wrong.
        """
        if not isinstance(value, dict):
            raise StateError(f"a state must be a dict, as state_dict() returns it; got {type(value).__name__}.")
        if value.get("version") != VERSION:
            raise StateError(f"a state must be of version {VERSION}; got version {value.get('version')!r}.")
        for name, (kinds, text) in _FIELDS.items():
            if name not in value:
                raise StateError(f"the state has no field {name!r}; is it complete?")
            if not isinstance(value[name], kinds) or isinstance(value[name], bool):
                raise StateError(f"the state's {name!r} must be {text}; got {value[name]!r}.")
        for name in ("epoch", "samples", "length"):
            if value[name] < 0:
                raise StateError(f"the state's {name!r} must be at least 0; got {value[name]}.")
        if value["global_batch_size"] < 1:
            raise StateError(f"the state's 'global_batch_size' must be at least 1; got {value['global_batch_size']}.")
        if not all(type(step) is int and step >= 0 for step in value["delivered"]):
            raise StateError(f"the state's 'delivered' must be a list of steps; got {value['delivered']!r}.")
        return LoaderState(**{name: value[name] for name in _FIELDS})


_FIELDS: dict[str, tuple[Any, str]] = {
    "seed": (int, "a whole number"),
    "epoch": (int, "a whole number"),
    "samples": (int, "a whole number"),
    "global_batch_size": (int, "a whole number"),
    "length": (int, "a whole number"),
    "order": ((dict, type(None)), "a dict or None"),
    "dataset": (dict, "a dict"),
    "sampler": ((dict, type(None)), "a dict or None"),
    "delivered": (list, "a list of steps"),
}
