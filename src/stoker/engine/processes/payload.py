"""The payload: the dataset and the code of a loader, on its way to the workers.

It is pickled once (by cloudpickle, so that lambdas and the classes of a script travel by value) into an anonymous file.
Large arrays and tensors stand beside the pickle and are mapped by all workers copy-on-write; memory maps and open HDF5
files travel by path; long lists of strings and numbers become a `SharedList`, whose elements have no reference counts for a worker to
write to.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import torch
import torch.utils.data._utils.collate as torch_collate

from stoker.batch.parcel import Parcel, open_parcel, reduce_tensor
from stoker.batch.slots import PAGE_BYTES, anonymous_file
from stoker.data.shared_list import SharedList, shareable
from stoker.engine.processes.hdf5_handles import reduce_handle
from stoker.engine.protocol import Work
from stoker.errors import TravelError

_LARGE_BYTES = 1 << 20
_MAX_DEPTH = 8  # of attributes named in an error
_LONG_LIST = 10_000  # elements; shorter lists cost less than they would save

_torch_collate_functions = dict(torch_collate.default_collate_fn_map)


@dataclass(frozen=True)
class Surroundings:
    """What of the loop's process the workers' code expects to find again."""

    path: list[str]
    directory: str
    environment: dict[str, str]
    arguments: list[str]
    default_dtype: torch.dtype
    collate_functions: dict[Any, Any] | None

    @staticmethod
    def here() -> Surroundings:
        functions = torch_collate.default_collate_fn_map
        return Surroundings(
            list(sys.path),
            os.getcwd(),
            dict(os.environ),
            list(sys.argv),
            torch.get_default_dtype(),
            dict(functions) if functions != _torch_collate_functions else None,
        )

    def apply(self) -> None:
        """In a worker: first this, then the dataset is unpickled."""
        sys.path[:] = self.path
        sys.argv[:] = self.arguments
        os.environ.clear()
        os.environ.update(self.environment)
        torch.set_default_dtype(self.default_dtype)
        try:
            os.chdir(self.directory)
        except OSError as error:
            warnings.warn(f"a worker cannot enter {self.directory}: {error}", stacklevel=2)
        if self.collate_functions is not None:
            torch_collate.default_collate_fn_map.update(self.collate_functions)


class InheritanceError(TravelError):
    """The work holds what only a forked child can share: locks, values and queues of Python's multiprocessing."""


def send(work: Work) -> int:
    """Writes the payload of `work`; returns the descriptor of its file, which the caller closes.

    Raises:
        InheritanceError: it can only be inherited, by a forked process.
        TravelError: naming the attribute that cannot be sent, and what to do.
    """
    surroundings = _pickle(Surroundings.here())
    try:
        parcel = _pickle(work)
    except Exception as error:
        inherited = isinstance(error, RuntimeError) and "through inheritance" in str(
            error
        )  # multiprocessing's own words
        raise (InheritanceError if inherited else TravelError)(_explain(work, error)) from error
    fd = anonymous_file()
    sizes = [_pages(surroundings.num_bytes), _pages(parcel.num_bytes)]
    os.ftruncate(fd, PAGE_BYTES + sum(sizes))
    with mmap.mmap(fd, PAGE_BYTES + sum(sizes)) as memory:
        array = np.frombuffer(memory, np.uint8)
        array[:16].view(np.int64)[:] = sizes
        surroundings.write(array[PAGE_BYTES:])
        parcel.write(array[PAGE_BYTES + sizes[0] :])
        del array
    return fd


def receive(fd: int) -> Work:
    """Reads the payload in a worker's ancestor: enters the surroundings, then unpickles. Arrays are mapped copy-on-write."""
    memory = mmap.mmap(fd, os.fstat(fd).st_size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    array = np.frombuffer(memory, np.uint8)
    sizes = array[:16].view(np.int64).tolist()
    surroundings: Surroundings = open_parcel(array[PAGE_BYTES:], keep_large=False)
    surroundings.apply()
    work: Work = open_parcel(array[PAGE_BYTES + sizes[0] :], keep_large=True, unpickler=_PayloadUnpickler)
    return work


def _pages(num_bytes: int) -> int:
    return -(-num_bytes // PAGE_BYTES) * PAGE_BYTES


def _pickle(value: Any) -> Parcel:
    buffers: list[memoryview] = []

    def keep_large_outside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LARGE_BYTES:
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    _PayloadPickler(stream, protocol=5, buffer_callback=keep_large_outside).dump(value)
    return Parcel(stream.getvalue(), buffers)


class _PayloadPickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared: dict[int, tuple[Any, SharedList | None]] = {}

    def persistent_id(self, obj: Any) -> SharedList | None:
        """A long list of plain values, as what stands for it in the workers. Each list is converted once, however often it is met."""
        if type(obj) is not list or len(obj) < _LONG_LIST:
            return None
        if id(obj) not in self._shared:
            self._shared[id(obj)] = obj, SharedList(obj) if shareable(obj) else None
        return self._shared[id(obj)][1]

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor:
            reduced = reduce_tensor(obj)
        elif isinstance(obj, np.memmap):
            reduced = _reduce_memmap(obj)
        else:
            reduced = reduce_handle(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


class _PayloadUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return pid


def _reduce_memmap(array: np.memmap[Any, Any]) -> Any:
    """A memory map travels as its path and place; NotImplemented where it has none (then its bytes travel)."""
    mapped: Any = getattr(array, "_mmap", None)
    if array.filename is None or mapped is None or array.mode not in ("r", "r+", "c"):
        return NotImplemented
    if not array.flags.c_contiguous or array.dtype.hasobject:
        return NotImplemented
    first = np.frombuffer(mapped, np.uint8).ctypes.data
    file_start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    offset = file_start + array.ctypes.data - first
    return np.memmap, (array.filename, array.dtype, array.mode, offset, array.shape)


def _explain(work: Work, error: Exception) -> str:
    for name in ("dataset", "collate_fn", "worker_init_fn"):
        path = _culprit(getattr(work, name), name)
        if path is not None:
            attribute, value, reason = path
            return (
                f"{attribute} cannot be sent to worker processes: {reason}. It is a {type(value).__module__}."
                f"{type(value).__qualname__}. Make it where it is used (in __getitem__, or in worker_init_fn), leave it out in "
                "__getstate__, or load with executor='inline' or 'thread'."
            )
    return f"the dataset cannot be sent to worker processes: {error}"


def _culprit(value: Any, path: str, depth: int = 0) -> tuple[str, Any, str] | None:
    """The deepest attribute below `value` that does not pickle, with its path and the reason; None when `value` pickles."""
    try:
        _pickle(value)
        return None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    children: Iterable[tuple[str, Any]] = [
        (f"{path}.{name}", child) for name, child in getattr(value, "__dict__", {}).items()
    ]
    if isinstance(value, dict):
        children = [(f"{path}[{key!r}]", child) for key, child in value.items()]
    elif isinstance(value, list | tuple):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    elif hasattr(value, "__closure__") and value.__closure__:
        names = value.__code__.co_freevars
        children = [(f"{path}:{name}", cell.cell_contents) for name, cell in zip(names, value.__closure__, strict=True)]
    for child_path, child in children if depth < _MAX_DEPTH else ():
        found = _culprit(child, child_path, depth + 1)
        if found is not None:
            return found
    return path, value, reason
