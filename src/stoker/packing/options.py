"""How a store is packed: what the user may decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stoker.errors import ArgumentError
from stoker.image.tiles import TILE_MCUS

IMAGES = ("keep", "jpeg", "raw")

SHARD_BYTES = 128 << 20
"""Bytes of a shard unless told otherwise: few files, and each a good piece of work for one process."""


@dataclass(frozen=True)
class PackOptions:
    """Decides a store's bytes, together with the source. See `stoker.pack` for what each means.

    Raises:
        ArgumentError: a value breaks a rule.
    """

    images: str = "keep"
    max_side: int | None = None
    quality: int = 90
    tile_mcus: int = TILE_MCUS
    shard_bytes: int = SHARD_BYTES
    augment: int = 1
    transform: Callable[[Any], Any] | None = None
    skips_errors: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ArgumentError(f"images must be 'keep', 'jpeg' or 'raw'; got {self.images!r}.")
        _check_range("max_side", self.max_side, 1, 65_535)
        _check_range("quality", self.quality, 1, 100)
        _check_range("tile_mcus", self.tile_mcus, 1, 65_535)
        _check_range("shard_bytes", self.shard_bytes, 1, 1 << 40)
        _check_range("augment", self.augment, 1, 1 << 20)
        if self.transform is not None and not callable(self.transform):
            raise ArgumentError(f"transform must be a function of a sample; got {self.transform!r}.")

    def to_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        name = (
            None if self.transform is None else getattr(self.transform, "__qualname__", type(self.transform).__name__)
        )
        return {
            "images": self.images, "max_side": self.max_side, "quality": self.quality, "tile_mcus": self.tile_mcus,
            "shard_bytes": self.shard_bytes, "augment": self.augment, "transform": name, "seed": self.seed,
            "on_error": "skip" if self.skips_errors else "raise",
        }  # fmt: skip


def _check_range(name: str, value: Any, least: int, most: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ArgumentError(f"{name} must be a whole number between {least:,} and {most:,}; got {value!r}.")
