"""A mapped shard: memory that is a file."""

from __future__ import annotations

import os
import weakref

from stoker._native import map_file, unmap_file
from stoker.errors import StoreError


class MappedFile:
    """A file in memory, read-only. Holds no descriptor: a store may have more shards than a process may have open files.

    Attributes:
        address: of its first byte.
        num_bytes: how many there are.
    """

    def __init__(self, path: str, expected_bytes: int) -> None:
        try:
            self.address, self.num_bytes = map_file(os.fsencode(path))
        except OSError as error:
            raise StoreError(f"cannot open the shard {path}: {error.strerror}") from error
        self._unmap = weakref.finalize(self, unmap_file, self.address, self.num_bytes)
        self._unmap.atexit = False  # the process's end does that, and threads may still read
        if self.num_bytes != expected_bytes:
            raise StoreError(size_text(path, self.num_bytes, expected_bytes))


def size_text(path: str, found: int, expected: int) -> str:
    """What is said of a shard of the wrong size."""
    what = f"it ends at offset {found:,}" if found < expected else f"it goes on after offset {expected:,}"
    return (
        f"the shard {path} has {found:,} bytes, and its manifest says {expected:,}: {what}. "
        "It was cut off or altered; copy it again, or pack the store anew."
    )
