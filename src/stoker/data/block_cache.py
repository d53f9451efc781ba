"""Blocks of rows that are costly to make, kept as far as they fit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BlockCache(Generic[T]):
    """The blocks used last, as many as take `limit_bytes` together; the newest is kept however large it is.

    Thread-safe: two threads that want one block make it once, two that want different blocks do not wait for each other.

    Args:
        make: the block of a number, and the bytes that keeping it takes.
        limit_bytes: how much all may take.

    Attributes:
        num_bytes: how much all take.
    """

    def __init__(self, make: Callable[[int], tuple[T, int]], limit_bytes: int) -> None:
        self._make = make
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, _Block[T]] = OrderedDict()
        self.num_bytes = 0

    def get(self, number: int) -> T:
        """The block, made if it is not there. Raises what making it raises."""
        with self._lock:
            block = self._blocks.setdefault(number, _Block())
            self._blocks.move_to_end(number)
        with block.lock:
            if not block.made:
                value, block.num_bytes = self._make(number)
                block.made.append(value)
                self._keep(number, block)
            return block.made[0]

    def _keep(self, number: int, block: _Block[T]) -> None:
        """Counts a new block, and drops those used longest ago until the rest fits."""
        with self._lock:
            self._blocks[number] = block
            self.num_bytes += block.num_bytes
            others = [other for other, kept in self._blocks.items() if kept.made and kept is not block]
            for other in others:
                if self.num_bytes <= self._limit_bytes:
                    break
                self.num_bytes -= self._blocks.pop(other).num_bytes


class _Block(Generic[T]):
    """One block; `made` holds it once it is there."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: list[T] = []
        self.num_bytes = 0
