"""The resume state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stoker.errors import StateError
from stoker.order.state import LoaderState


def state(**changes: Any) -> LoaderState:
    fields: dict[str, Any] = {
        "seed": 7, "epoch": 3, "samples": 640, "global_batch_size": 64, "length": 10**12,
        "order": {"name": "shuffled", "length": 10**12, "seed": 7}, "dataset": {"type": "Photos", "length": 10**12},
    }  # fmt: skip
    return LoaderState(**{**fields, **changes})


def test_it_survives_json() -> None:
    assert LoaderState.from_dict(json.loads(json.dumps(state().to_dict()))) == state()


def test_it_is_small_and_of_one_size() -> None:
    sizes = [len(json.dumps(state(samples=samples).to_dict())) for samples in (10, 10**12)]
    assert max(sizes) < 500
    assert sizes[1] - sizes[0] == len(str(10**12)) - len("10")


def test_its_form_never_changes() -> None:
    assert state().to_dict() == {
        "version": 1, "seed": 7, "epoch": 3, "samples": 640, "global_batch_size": 64, "length": 10**12,
        "order": {"name": "shuffled", "length": 10**12, "seed": 7}, "dataset": {"type": "Photos", "length": 10**12},
        "sampler": None, "delivered": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 2}, "a state must be of version 1; got version 2"),
        ({"seed": "7"}, "the state's 'seed' must be a whole number; got '7'"),
        ({"epoch": True}, "the state's 'epoch' must be a whole number; got True"),
        ({"epoch": -1}, "the state's 'epoch' must be at least 0; got -1"),
        ({"samples": -5}, "the state's 'samples' must be at least 0; got -5"),
        ({"global_batch_size": 0}, "the state's 'global_batch_size' must be at least 1; got 0"),
        ({"order": "shuffled"}, "the state's 'order' must be a dict or None; got 'shuffled'"),
        ({"delivered": [1, "2"]}, "the state's 'delivered' must be a list of steps"),
    ],
)
def test_damage_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(StateError, match=text):
        LoaderState.from_dict({**state().to_dict(), **changes})


def test_a_missing_field_is_named() -> None:
    broken = state().to_dict()
    del broken["samples"]
    with pytest.raises(StateError, match="the state has no field 'samples'"):
        LoaderState.from_dict(broken)


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(StateError, match="a state must be a dict, as state_dict\\(\\) returns it; got list"):
        LoaderState.from_dict([1])
