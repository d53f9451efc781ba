"""Stoker feeds neural networks: the same batches on every run, as fast as the hardware, and it says why.

``stoker.Loader`` stands where ``torch.utils.data.DataLoader`` stood. The rooms ``stoker.order``, ``stoker.data``,
``stoker.image``, ``stoker.batch`` and ``stoker.device`` hold what it is made of. Names are loaded at first use, so that the command line
answers before torch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stoker.errors import (
    ArgumentError,
    DataError,
    EmptyFolderError,
    ImageError,
    MemoryLimitError,
    MissingPackageError,
    SkipSample,
    StateError,
    StokerError,
    StoreError,
    TravelError,
    TypeMismatchError,
    WorkerError,
)

if TYPE_CHECKING:
    from stoker import batch, data, device, image, order, train
    from stoker.data.open import open
    from stoker.engine.failures import ErrorPolicy
    from stoker.engine.processes.launch import shutdown
    from stoker.loader import Loader
    from stoker.packing.export import export
    from stoker.packing.pack import pack
    from stoker.store.verify import verify

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "DataError",
    "EmptyFolderError",
    "ErrorPolicy",
    "ImageError",
    "Loader",
    "MemoryLimitError",
    "MissingPackageError",
    "SkipSample",
    "StateError",
    "StokerError",
    "StoreError",
    "TravelError",
    "TypeMismatchError",
    "WorkerError",
    "batch",
    "data",
    "device",
    "export",
    "image",
    "open",
    "order",
    "pack",
    "shutdown",
    "train",
    "verify",
]

_MODULE_OF = {
    "ErrorPolicy": "stoker.engine.failures",
    "Loader": "stoker.loader",
    "export": "stoker.packing.export",
    "open": "stoker.data.open",
    "pack": "stoker.packing.pack",
    "shutdown": "stoker.engine.processes.launch",
    "verify": "stoker.store.verify",
}
_ROOMS = ("batch", "data", "device", "image", "order", "train")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"stoker.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'stoker' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
