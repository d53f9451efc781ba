"""JPEG that can be entered anywhere: the same pixels, in tiles of which a crop decodes those that it covers."""

from __future__ import annotations

from stoker._native import retile_jpeg
from stoker.errors import ArgumentError

TILE_MCUS = 4
"""MCUs per tile unless told otherwise: files grow by 3 %, and a random crop decodes half of an image."""


def retile(data: bytes, tile_mcus: int = TILE_MCUS) -> bytes | None:
    """The JPEG `data`, transcoded without loss: the same coefficients, so the same pixels, with restart markers between tiles.

    The result is an ordinary baseline JPEG that any viewer opens. All metadata stays; what stands behind the picture's
    end is dropped. A tile is `tile_mcus` MCUs wide
    (8 or 16 pixels each), or as near to it as divides the MCUs of a row, and one MCU high. Deterministic; thread-safe;
    releases the GIL.

    Returns:
        None for what has to stay as it is: no JPEG, a damaged or truncated one, arithmetic coding, 12 bits, CMYK,
        several pictures in one file (MPO), and progressive files whose last scans are missing.

    Raises:
        ArgumentError: `tile_mcus` is not in [1, 65535].
    """
    if not 1 <= tile_mcus <= 65_535:
        raise ArgumentError(f"tile_mcus must be between 1 and 65,535; got {tile_mcus}.")
    return retile_jpeg(bytes(data), tile_mcus)
