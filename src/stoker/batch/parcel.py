"""Parcels: any Python value as bytes in shared memory, its arrays beside the pickle instead of inside it.

Batches that a user's own ``collate_fn`` makes, and whatever else is not plain rows, travel so: pickle protocol 5 with
out-of-band buffers. On arrival the arrays are views of the memory they were written to, not copies.

A parcel in memory: int64 words ``[pickle bytes, number of buffers, (offset, bytes) per buffer]``, the pickle, the
buffers, each on a 64-byte boundary.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import numpy as np
import torch
from numpy.typing import NDArray

from stoker.batch.carriers import carrier_of
from stoker.batch.slots import SMALL_BYTES

_ALIGNMENT = 64


class Parcel:
    """A pickled value: its stream, and the buffers that the stream refers to in order."""

    def __init__(self, stream: bytes, buffers: list[memoryview]) -> None:
        self.stream = stream
        self.buffers = buffers
        self._offsets = []
        end = _align(8 * (2 + 2 * len(buffers)) + len(stream))
        for buffer in buffers:
            self._offsets.append(end)
            end = _align(end + buffer.nbytes)
        self.num_bytes = end

    def write(self, memory: NDArray[np.uint8]) -> None:
        """Writes the parcel to the first `num_bytes` bytes of `memory`."""
        table = [len(self.stream), len(self.buffers)]
        for offset, buffer in zip(self._offsets, self.buffers, strict=True):
            table += (offset, buffer.nbytes)
            memory[offset : offset + buffer.nbytes] = np.frombuffer(buffer, np.uint8) if buffer.nbytes else 0
        head = np.array(table, np.int64).view(np.uint8)
        memory[: head.size] = head
        memory[head.size : head.size + len(self.stream)] = np.frombuffer(self.stream, np.uint8)


def pack_value(value: Any) -> Parcel:
    """Pickles any value, classes and functions of ``__main__`` too."""
    buffers: list[memoryview] = []
    stream = io.BytesIO()
    _ParcelPickler(stream, buffer_callback=lambda buffer: buffers.append(buffer.raw())).dump(value)
    return Parcel(stream.getvalue(), buffers)


def buffer_sizes(memory: NDArray[np.uint8]) -> list[int]:
    """The sizes in bytes of the buffers of the parcel in `memory`."""
    count = int(memory[8:16].view(np.int64)[0])
    return memory[16 : 16 + 16 * count].view(np.int64)[1::2].tolist()  # type: ignore[no-any-return]


def open_parcel(
    memory: NDArray[np.uint8], *, keep_large: bool, unpickler: type[pickle.Unpickler] = pickle.Unpickler
) -> Any:
    """The value in `memory`. Its large arrays are views of `memory` with `keep_large`, else private; small ones are always private."""
    stream_bytes, count = memory[:16].view(np.int64).tolist()
    table = memory[16 : 16 + 16 * count].view(np.int64).tolist()
    start = 16 + 16 * count
    buffers: list[Any] = []
    for offset, num_bytes in zip(table[::2], table[1::2], strict=True):
        buffer = memory[offset : offset + num_bytes]
        buffers.append(buffer if keep_large and num_bytes >= SMALL_BYTES else np.array(buffer))
    return unpickler(io.BytesIO(memory[start : start + stream_bytes].tobytes()), buffers=buffers).load()


class _ParcelPickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor:
            reduced = reduce_tensor(obj)
        elif isinstance(obj, type) and obj.__module__ == "__main__" and "<locals>" not in obj.__qualname__:
            reduced = (_main_attribute, (obj.__qualname__,))  # the loop's own class, not a copy of it
        else:
            reduced = NotImplemented
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


def _main_attribute(qualname: str) -> Any:
    value = sys.modules["__main__"]
    for name in qualname.split("."):
        value = getattr(value, name)
    return value


def reduce_tensor(tensor: torch.Tensor) -> Any:
    """Pickles a plain CPU tensor with its bytes out of band and its memory format kept; NotImplemented for any other."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.is_nested or tensor.requires_grad or tensor.is_conj() or tensor.is_neg():
        return NotImplemented
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    dense = tensor.permute(order)
    if not dense.is_contiguous():
        order, dense = list(range(tensor.dim())), tensor.contiguous()
    array: Any
    try:
        array = dense.numpy()
    except TypeError:  # no NumPy counterpart (bfloat16 …): its bytes as integers of the same width
        array = dense.view(_torch_carrier(tensor.dtype)).numpy()
    return rebuild_tensor, (pickle.PickleBuffer(array), array.dtype.str, tensor.dtype, tuple(dense.shape), tuple(order))


def _torch_carrier(dtype: torch.dtype) -> torch.dtype:
    return torch.from_numpy(np.empty(0, carrier_of(dtype))).dtype


def rebuild_tensor(
    buffer: Any, carrier: str, dtype: torch.dtype, shape: Sequence[int], order: Sequence[int]
) -> torch.Tensor:
    """The inverse of `reduce_tensor`: shares the buffer's memory."""
    array = np.frombuffer(buffer, carrier) if 0 not in shape else np.empty(0, carrier)
    tensor = torch.from_numpy(array.reshape(shape))
    if tensor.dtype is not dtype:
        tensor = tensor.view(dtype)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return tensor.permute(inverse) if inverse != list(range(len(order))) else tensor


def _align(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
