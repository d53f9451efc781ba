"""For people who add a part, or want to see that a loader keeps its promises: hashes of batches, resume checks, faults, a test kit.

Needs pytest only where `ExecutorTests` is used.
"""

from stoker.testing.datasets import Counting, Noisy
from stoker.testing.faults import KillsWorker
from stoker.testing.hashes import batch_hash, epoch_hashes
from stoker.testing.resume import assert_resumes_at_every_batch

__all__ = ["Counting", "KillsWorker", "Noisy", "assert_resumes_at_every_batch", "batch_hash", "epoch_hashes"]
