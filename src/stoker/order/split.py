"""Split: from global positions to (rank, step, row). Every rank takes the same number of steps, always.

The global batch of step s is positions ``[s·B·W, (s+1)·B·W)``, and rank r takes rows ``[r·B, (r+1)·B)`` of it, so at
one global batch size the sequence of global batches does not depend on the number of ranks W.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from stoker.errors import ArgumentError, StateError


@dataclass(frozen=True)
class Rows:
    """The global positions ``[start, stop)`` of a rank's rows of one step. Where `valid` is False they repeat another rank's."""

    start: int
    stop: int
    valid: bool


@dataclass(frozen=True)
class Split:
    """Cuts `length` positions into steps of `batch_size` rows on each of `world_size` ranks. Every answer is O(1) arithmetic.

    A last global batch of R rows is cut evenly: rank r gets ``[R·r // W, R·(r+1) // W)`` of it. With `drop_last` it is
    left out. Where R is less than W, some ranks have no row: `tail` "drop" leaves that step out on all ranks, "pad"
    repeats a row on those.
    """

    length: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False
    tail: str = "pad"

    def __post_init__(self) -> None:
        if self.length < 0:
            raise ArgumentError(f"length must be at least 0; got {self.length}.")
        if self.batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1; got {self.batch_size}.")
        if not 0 <= self.rank < self.world_size:
            raise ArgumentError(f"rank must be in [0, world_size); got rank={self.rank}, world_size={self.world_size}.")
        if self.tail not in ("drop", "pad"):
            raise ArgumentError(f"tail must be 'drop' or 'pad'; got {self.tail!r}.")

    @cached_property
    def global_batch_size(self) -> int:
        """Rows of one step over all ranks."""
        return self.batch_size * self.world_size

    @cached_property
    def num_steps(self) -> int:
        """Steps per epoch, the same on every rank."""
        full, rest = divmod(self.length, self.global_batch_size)
        dropped = rest == 0 or self.drop_last or (rest < self.world_size and self.tail == "drop")
        return full if dropped else full + 1

    @cached_property
    def num_rows(self) -> int:
        """This rank's rows of an epoch, over all steps."""
        if not self.num_steps:
            return 0
        last = self.rows(self.num_steps - 1)
        return (self.num_steps - 1) * self.batch_size + last.stop - last.start

    def rows(self, step: int) -> Rows:
        """This rank's rows of `step`, in ``[0, num_steps)``."""
        if not 0 <= step < self.num_steps:
            raise ArgumentError(f"step must be in [0, {self.num_steps}); got {step}.")
        first = step * self.global_batch_size
        rest = self.length - first
        if rest >= self.global_batch_size:
            start = first + self.rank * self.batch_size
            return Rows(start, start + self.batch_size, valid=True)
        if rest < self.world_size and self.rank >= rest:
            start = first + self.rank % rest
            return Rows(start, start + 1, valid=False)
        if rest < self.world_size:
            return Rows(first + self.rank, first + self.rank + 1, valid=True)
        start, stop = rest * self.rank // self.world_size, rest * (self.rank + 1) // self.world_size
        return Rows(first + start, first + stop, valid=True)

    def step_of(self, samples: int) -> int:
        """The first step that is left when `samples` positions of the epoch were consumed, over all ranks.

        Raises:
            StateError: a step of this size would begin in the middle of one that was taken.
        """
        if not 0 <= samples <= self.length:
            raise StateError(
                f"a state must have consumed between 0 and {self.length} samples of the epoch; it says {samples}."
            )
        step, rest = divmod(samples, self.global_batch_size)
        if samples == self.length or step >= self.num_steps:
            return self.num_steps
        if rest:
            raise StateError(
                f"the state was taken after {samples} samples, which is no multiple of this loader's global batch size, "
                f"{self.global_batch_size} ({self.batch_size} on each of {self.world_size} ranks). Resume with one that divides it."
            )
        return step
