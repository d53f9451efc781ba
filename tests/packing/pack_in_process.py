"""Packs a folder slowly, in a process that a test may kill: folder, target, workers, whether to append."""

from __future__ import annotations

import sys
import time
from typing import Any

import stoker


def slowly(sample: Any) -> Any:
    time.sleep(0.004)
    return sample


if __name__ == "__main__":
    folder, target, workers, append = sys.argv[1:]
    stoker.pack(
        stoker.open(folder),
        target,
        transform=slowly,
        num_workers=int(workers),
        shard_bytes=20_000,
        append=append == "append",
    )
