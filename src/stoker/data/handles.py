"""Open files of a dataset: opened where they are first used, in each process anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handle(Generic[T]):
    """What `make` gives, made at first use in each process. Pickles as `make`; what a forked process inherits it makes anew.

    What was made must close itself when it is dropped. Thread-safe, and without a lock, which another thread could hold
    while this process forks: two threads that come first together make it twice, and one of the two is dropped.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None

    def get(self) -> T:
        """The thing itself, which a caller keeps no longer than it needs it."""
        made, process = self._made, os.getpid()
        if made is None or made[0] != process:
            self._made = made = None  # what was inherited is dropped first: HDF5 would share its descriptor
            self._made = made = process, self._make()
        return made[1]

    def close(self) -> None:
        """Drops it; the next `get` makes it anew."""
        self._made = None

    def __reduce__(self) -> tuple[type[Handle[T]], tuple[Callable[[], T]]]:
        return Handle, (self._make,)


class OpenFile:
    """A file that is read at offsets. Thread-safe: reading has no position. Closes its descriptor when it is dropped.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes in ``[offset, offset + size)``; fewer where the file ends before."""
        data = os.pread(self._fd, size, offset)
        while len(data) < size:  # one call gives 2 GiB at most
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)
