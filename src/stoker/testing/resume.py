"""Checks that a loader can be stopped anywhere and goes on as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from stoker.testing.hashes import epoch_hashes


def assert_resumes_at_every_batch(
    make: Callable[[], Any], resumers: Sequence[Callable[[], Any]] = (), epochs: int = 2
) -> None:
    """Stops a loader at every single batch of `epochs` epochs; each time another loader takes the state, as JSON, and goes on.

    What is compared is the sequence of batches that remain, up to the end of the last epoch, by hash.

    Args:
        make: makes the loader under test.
        resumers: make the loaders that go on, in turn (other workers, another executor); by default `make` itself.
        epochs: how many epochs an undisturbed run has.

    Raises:
        AssertionError: the batches that remain differ; says where it was stopped.
    """
    undisturbed = make()
    expected = [epoch_hashes(undisturbed) for _ in range(epochs)]
    turns = cycle(resumers or [make])
    states = _states(make(), epochs)
    for epoch, step, state in states:
        resumed = next(turns)()
        resumed.load_state_dict(json.loads(state))
        rest = [epoch_hashes(resumed) for _ in range(epoch, epochs)]
        wanted = [expected[epoch][step:], *expected[epoch + 1 :]]
        assert rest == wanted, f"resumed after batch {step} of epoch {epoch}: {_difference(rest, wanted)}"
        resumed = None


def _states(loader: Any, epochs: int) -> list[tuple[int, int, str]]:
    """(epoch, batches handed out, state) at the beginning, after each batch, and after each epoch's end."""
    states = [(0, 0, json.dumps(loader.state_dict()))]
    for epoch in range(epochs):
        for step, _ in enumerate(loader):
            states.append((epoch, step + 1, json.dumps(loader.state_dict())))
        if epoch + 1 < epochs:
            states.append((epoch + 1, 0, json.dumps(loader.state_dict())))
    return states


def _difference(found: list[list[str]], wanted: list[list[str]]) -> str:
    lengths = [len(hashes) for hashes in found], [len(hashes) for hashes in wanted]
    if lengths[0] != lengths[1]:
        return f"{lengths[0]} batches are left in each epoch, not {lengths[1]}"
    flat = [
        (a, b)
        for found_epoch, wanted_epoch in zip(found, wanted, strict=True)
        for a, b in zip(found_epoch, wanted_epoch, strict=True)
    ]
    first = next(number for number, (a, b) in enumerate(flat) if a != b)
    return f"batch {first} after that differs"
