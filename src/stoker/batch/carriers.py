"""Carriers: the NumPy dtype that a torch dtype's bytes are handled as where NumPy has none of its own (bfloat16, float8 …)."""

from __future__ import annotations

import numpy as np
import torch

_CARRIERS = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}


def carrier_of(dtype: torch.dtype) -> np.dtype[np.generic]:
    """An integer dtype of the same width."""
    return np.dtype(_CARRIERS[dtype.itemsize])
