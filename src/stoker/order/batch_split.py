"""The split over ranks of batches that vary in size: whole micro-batches, the same number of steps on every rank, always."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import ArgumentError, StateError


@dataclass(frozen=True)
class BatchSplit:
    """Deals the micro-batches of an epoch to `world_size` ranks, which has to divide `micro_batches`. O(1) arithmetic.

    Rank r takes the micro-batches whose number is r modulo W, one in each of its steps; so what was taken after any step
    is a beginning of the epoch, and the M that are one optimiser step together do not depend on W. Where an epoch has
    no multiple of M (fewer samples than that), `tail` "pad" repeats some and "drop" leaves the last ones out.
    """

    num_batches: int
    micro_batches: int
    rank: int = 0
    world_size: int = 1
    tail: str = "pad"

    def __post_init__(self) -> None:
        if self.micro_batches % self.world_size:
            raise ArgumentError(
                f"the number of ranks has to divide micro_batches, the batches of one step over all ranks; got "
                f"{self.world_size} ranks and micro_batches={self.micro_batches}."
            )

    @property
    def _dealt(self) -> int:
        full, rest = divmod(self.num_batches, self.micro_batches)
        return self.micro_batches * (full + (rest > 0 and self.tail == "pad"))

    @property
    def num_steps(self) -> int:
        """Batches per epoch on this rank, as on every other."""
        return self._dealt // self.world_size

    def number(self, step: int) -> tuple[int, bool]:
        """(this rank's micro-batch at `step`, whether it is valid: False where it repeats another)."""
        number = step * self.world_size + self.rank
        return number % self.num_batches, number < self.num_batches

    def step_of(self, batches: int) -> int:
        """The first step that is left when `batches` micro-batches were taken, over all ranks.

        Raises:
            StateError: with this number of ranks, a step would begin in the middle of one that was taken.
        """
        if not 0 <= batches <= self._dealt:
            raise StateError(
                f"a state must have taken between 0 and {self._dealt} micro-batches of the epoch; it says {batches}."
            )
        if batches % self.world_size:
            raise StateError(
                f"the state was taken after {batches} micro-batches, which is no multiple of the number of ranks, "
                f"{self.world_size}. Resume with a number of ranks that divides it."
            )
        return batches // self.world_size
