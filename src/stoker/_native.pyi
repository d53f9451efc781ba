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
