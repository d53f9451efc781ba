"""For people who add a part, or want to see that a loader keeps its promises: hashes of batches, resume checks, faults, a test kit.

Needs pytest only where `ExecutorTests` is used.
"""

from typing import TYPE_CHECKING, Any

from stoker.testing.datasets import Counting, Noisy
from stoker.testing.faults import KillsWorker
from stoker.testing.hashes import batch_hash, epoch_hashes
from stoker.testing.resume import assert_resumes_at_every_batch

if TYPE_CHECKING:
    from stoker.testing.executors import ExecutorTests

__all__ = [
    "Counting",
    "ExecutorTests",
    "KillsWorker",
    "Noisy",
    "assert_resumes_at_every_batch",
    "batch_hash",
    "epoch_hashes",
]


def __getattr__(name: str) -> Any:
    if name != "ExecutorTests":
        raise AttributeError(f"module 'stoker.testing' has no attribute {name!r}")
    from stoker.testing.executors import ExecutorTests

    return ExecutorTests
