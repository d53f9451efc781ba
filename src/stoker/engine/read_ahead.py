"""Reading ahead of need: the order knows which rows come next, so the kernel is told before anybody waits for them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from stoker.engine.protocol import BatchSpec

_AHEAD_BYTES = 64 << 20
"""Of what is asked for before it is needed: some tens of milliseconds of a fast disk, and little beside what batches take."""
_MAX_BATCHES = 256


def with_read_ahead(specs: Iterator[BatchSpec], dataset: Any, batch_size: int) -> Iterator[BatchSpec]:
    """The same specs, each announced to the dataset's `read_ahead` well before it is handed out; as they are where nothing is to be read.

    The dataset decides: it has `read_ahead`, and is not in memory already. Announcing is done by a thread, which ends
    with the iterator. Workers profit too: pages are the machine's.
    """
    announce = getattr(dataset, "read_ahead", None)
    if announce is None or dataset.is_in_memory():
        return specs
    depth = _AHEAD_BYTES // (dataset.mean_sample_bytes * batch_size)
    return _announced(specs, announce, min(_MAX_BATCHES, max(1, depth)))


def _announced(specs: Iterator[BatchSpec], announce: Callable[[Any], object], depth: int) -> Iterator[BatchSpec]:
    waiting: queue.SimpleQueue[BatchSpec | None] = queue.SimpleQueue()
    threading.Thread(target=_announce, args=(waiting, announce), name="stoker-read-ahead", daemon=True).start()
    ahead: deque[BatchSpec] = deque()
    try:
        for spec in specs:
            ahead.append(spec)
            waiting.put(spec)
            if len(ahead) > depth:
                yield ahead.popleft()
        yield from ahead
    finally:
        waiting.put(None)


def _announce(waiting: queue.SimpleQueue[BatchSpec | None], announce: Callable[[Any], object]) -> None:
    while (spec := waiting.get()) is not None:
        with suppress(Exception):  # whoever reads the row will meet the same error, and say it
            announce(spec.indices)
