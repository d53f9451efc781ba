"""torchvision, also beside a build of torch that its compiled operators do not match.

The wheel on PyPI is a CUDA build: beside a CPU-only torch, the import fails because its compiled operators cannot be
loaded. All that benchmarks and tests need of it (transforms on PIL images and tensors, ImageFolder) is pure Python, and
works once the two operators that the import looks up have a definition.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_library: torch.library.Library | None = None  # its definitions last as long as it does


def import_torchvision() -> ModuleType:
    """Imports torchvision; where its compiled operators are missing, without them. Later imports find it loaded.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:  # "operator torchvision::nms does not exist"
        _forget_torchvision()
        _define_operators()
        return importlib.import_module("torchvision")


def _forget_torchvision() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def _define_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
