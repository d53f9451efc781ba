"""Stoker's native core."""

import numpy as np
from numpy.typing import NDArray

def gather_rows(table: int, num_rows: int, row_bytes: int, indices: NDArray[np.int64], target: int) -> None:
    """Copies rows of a table; `table` and `target` are addresses of contiguous memory. Raises IndexError."""

def resample_rgb(
    source: int,
    source_stride: int,
    source_height: int,
    source_width: int,
    target: int,
    target_height: int,
    target_width: int,
    antialias: bool,
    flip_horizontally: bool,
    flip_vertically: bool,
    planar: bool,
) -> None:
    """Resizes 8-bit RGB pixels; `source` and `target` are addresses. Releases the GIL."""

def retile_jpeg(data: bytes, tile_mcus: int) -> bytes | None:
    """The same JPEG with a restart marker after about `tile_mcus` MCUs; None for what has to stay as it is. Releases the GIL."""

def extract_tiles(data: bytes, top: int, left: int, height: int, width: int) -> tuple[bytes, int, int] | None:
    """(a JPEG of the tiles that cover the rectangle, its top, its left); None where `data` is not tiled, or damaged. Releases the GIL."""

def map_file(path: bytes) -> tuple[int, int]:
    """(address, bytes) of a file, mapped read-only; holds no descriptor. `path` as `os.fsencode` gives it. Raises OSError."""

def unmap_file(address: int, size: int) -> None:
    """Ends a mapping."""

def copy_spans(addresses: NDArray[np.uint64], lengths: NDArray[np.int64], target: int) -> None:
    """Copies spans of memory behind each other to the address `target`. Releases the GIL."""

def load_bounds(addresses: NDArray[np.uint64], target: int) -> None:
    """Reads two neighbouring 64-bit numbers at each address to the address `target`. Releases the GIL."""

def read_ahead(addresses: NDArray[np.uint64], lengths: NDArray[np.int64], max_gap: int) -> int:
    """Tells the kernel that spans of mapped files will be needed; those at most `max_gap` bytes apart as one. Releases the GIL."""
