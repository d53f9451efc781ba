"""The .npy format in memory: parsed without pickle, and nothing allocated that the bytes do not hold."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from stoker.errors import DataError

_HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def parse_npy(data: bytes | bytearray, source: str) -> NDArray[Any]:
    """The array in the bytes of a .npy file. Shares the memory of `data`: writable where that is a bytearray.

    Raises:
        DataError: the bytes are no .npy file, hold pickled objects, or not as many elements as their header says; names
            `source`.
    """
    stream = io.BytesIO(data)
    try:
        version = npy_format.read_magic(stream)
        if version not in _HEADER_READERS:
            raise ValueError(f"its format has version {'.'.join(map(str, version))}; 1.0 and 2.0 can be read")
        shape, by_columns, dtype = _HEADER_READERS[version](stream)
        if dtype.hasobject:
            raise ValueError("it holds pickled Python objects, which are never unpickled; save plain numbers")
        start, count = stream.tell(), math.prod(shape)
        if count * dtype.itemsize > len(data) - start:
            raise ValueError(f"its header promises {count:,} elements of {dtype}, and the file is too short for them")
    except Exception as error:  # NumPy parses the header as Python, which fails in many ways
        raise DataError(f"cannot read {source}: {error}") from error
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if by_columns else "C")
