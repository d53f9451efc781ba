"""Nested batches: what is done to each tensor in them, whatever holds it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, MutableMapping
from typing import Any

import torch

OnTensor = Callable[[torch.Tensor], Any]
OnOpaque = Callable[[Any], Any]


def map_batch(value: Any, on_tensor: OnTensor, on_opaque: OnOpaque) -> Any:
    """The batch with `on_tensor` of every tensor, and `on_opaque` of everything that has a ``.to()`` of its own.

    Goes into dicts, lists, tuples, named tuples and dataclasses, which are rebuilt as their own type; anything else
    (strings, numbers, NumPy arrays) stays as it is. An object is mapped once: parts that were one stay one.
    """
    seen: dict[int, Any] = {}

    def mapped(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            if id(part) not in seen:
                seen[id(part)] = on_tensor(part)
            return seen[id(part)]
        return _mapped_container(part, mapped, on_opaque)

    return mapped(value)


def _mapped_container(part: Any, mapped: Callable[[Any], Any], on_opaque: OnOpaque) -> Any:
    if isinstance(part, MutableMapping):
        changed = copy.copy(part)
        for name in part:
            changed[name] = mapped(part[name])
        return changed
    if callable(getattr(part, "to", None)) and not isinstance(part, type):
        return on_opaque(part)
    if isinstance(part, tuple):
        parts = [mapped(each) for each in part]
        return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
    if isinstance(part, list):
        return type(part)(mapped(each) for each in part)
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        rebuilt: Any = copy.copy(part)
        for field in dataclasses.fields(part):
            object.__setattr__(rebuilt, field.name, mapped(getattr(part, field.name)))  # also of a frozen one
        return rebuilt
    return part
