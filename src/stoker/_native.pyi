"""Stoker's native core."""

import numpy as np
from numpy.typing import NDArray

def gather_rows(table: int, num_rows: int, row_bytes: int, indices: NDArray[np.int64], target: int) -> None:
    """Copies rows of a table; `table` and `target` are addresses of contiguous memory. Raises IndexError."""
