"""Open h5py files, groups and datasets on their way to workers: by path, opened again in each.

A dataset written by hand often opens its file in ``__init__``. h5py's objects do not pickle, and must not be inherited by a
fork: what travels is the path and the name, and the object itself is made without being opened, so that each worker opens
its own.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

_waiting: list[tuple[Any, str, str, dict[str, Any]]] = []  # what was unpickled, and has to be opened in each worker


def reduce_handle(obj: Any) -> Any:
    """How an h5py object pickles; NotImplemented where `obj` is none.

    Raises:
        pickle.PicklingError: it is closed, was not opened read-only, or its file is none on a disk.
    """
    h5py = sys.modules.get("h5py")
    if h5py is None or not isinstance(obj, h5py.File | h5py.Group | h5py.Dataset):
        return NotImplemented
    if not obj:
        raise pickle.PicklingError("the HDF5 file is closed")
    file = obj.file
    if file.mode != "r" or file.driver not in ("sec2", "stdio"):
        raise pickle.PicklingError(
            f"the HDF5 file {file.filename} is open in mode {file.mode!r} with driver {file.driver!r}, and only files on a disk "
            "that were opened with h5py.File(path, 'r') can be opened again in workers"
        )
    _, num_slots, num_bytes, preemption = file.id.get_access_plist().get_cache()
    options = {
        "rdcc_nslots": num_slots, "rdcc_nbytes": num_bytes, "rdcc_w0": preemption, "swmr": file.swmr_mode,
    }  # fmt: skip
    return _closed, (type(obj), os.path.abspath(file.filename), obj.name, options)


def _closed(kind: Any, path: str, name: str, options: dict[str, Any]) -> Any:
    """An h5py object that is opened later, by `open_handles`."""
    handle = object.__new__(kind)
    _waiting.append((handle, path, name, options))
    return handle


def open_handles() -> None:
    """In a worker, before anything else uses the dataset: opens all handles that came with it.

    Raises:
        OSError: a file cannot be opened; h5py names it.
        KeyError: it no longer holds what it held.
    """
    if not _waiting:
        return
    import h5py

    for handle, path, name, options in _waiting:
        if isinstance(handle, h5py.File):
            handle.__init__(path, "r", **options)
        else:
            handle.__init__(h5py.File(path, "r", **options)[name].id)
    _waiting.clear()
