"""How a contender in a process of its own takes its turns: `epoch` comes in as a line, the figures go out as one.

This side runs in a peer's environment, and so imports nothing that is not Python's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any


class Channel:
    """The line to the benchmark: standard input and output.

    Make one before a library is imported: what anybody else writes to standard output goes to standard error from then on.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def serve(self, epoch: Callable[[], Iterable[Any]]) -> None:
        """Says that all is ready, then runs an epoch for each line that comes in, until there are no more."""
        self._answer({"ready": True})
        for _ in sys.stdin:
            self._answer(run(epoch))

    def _answer(self, message: dict[str, Any]) -> None:
        self._answers.write(json.dumps(message) + "\n")


def run(epoch: Callable[[], Iterable[Any]]) -> dict[str, float]:
    """One whole epoch: how many batches, and the seconds to the first and to the last of them."""
    started = perf_counter()
    count, first_s = 0, 0.0
    for _batch in epoch():
        if not count:
            first_s = perf_counter() - started
        count += 1
    return {"batches": count, "first_s": first_s, "seconds": perf_counter() - started}
