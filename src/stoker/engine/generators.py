"""Finds the private random generators inside a dataset and its transforms.

Code that keeps a generator of its own (``self.rng = numpy.random.default_rng(0)``, Albumentations) would give other
samples with other workers: each worker has a copy that advances on its own. Found generators are seeded per sample like
the global ones.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch

_MAX_ELEMENTS = 10_000  # of one container; longer ones hold data, not code
_MAX_OBJECTS = 200_000
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), type, np.ndarray, np.generic, torch.Tensor)


class PrivateGenerator(Protocol):
    """A generator that can be seeded from a key, saved and restored."""

    def seed(self, key: int) -> None: ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class _PythonGenerator:
    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self.seed = generator.seed
        self.state = generator.getstate
        self.restore = generator.setstate


class _TorchGenerator:
    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.state = generator.get_state

    def restore(self, state: Any) -> None:
        self._generator.set_state(state)

    def seed(self, key: int) -> None:
        self._generator.manual_seed(key)


class _NumpyGenerator:
    """A ``numpy.random.Generator`` or ``RandomState``, through its bit generator."""

    def __init__(self, generator: np.random.Generator | np.random.RandomState) -> None:
        private: Any = generator
        self._bits = private.bit_generator if isinstance(generator, np.random.Generator) else private._bit_generator
        self._legacy = generator if isinstance(generator, np.random.RandomState) else None

    def seed(self, key: int) -> None:
        if self._legacy is not None:
            self._legacy.seed(key & 0xFFFFFFFF)
        else:
            self._bits.state = type(self._bits)(key).state

    def state(self) -> Any:
        return self._bits.state

    def restore(self, state: Any) -> None:
        self._bits.state = state


def find_generators(roots: Iterable[Any]) -> list[PrivateGenerator]:
    """The generators reachable from `roots` through attributes, containers, closures, partials and referenced globals.

    The three global generators are left out. The order is that of a breadth-first walk, so it is the same in every
    process.
    """
    found: list[PrivateGenerator] = []
    for value in _reachable(roots):
        if isinstance(value, np.random.Generator | np.random.RandomState):
            if value is not np.random.mtrand._rand:
                found.append(_NumpyGenerator(value))
        elif isinstance(value, random.Random):
            if value is not random._inst and not isinstance(value, random.SystemRandom):
                found.append(_PythonGenerator(value))
        elif isinstance(value, torch.Generator) and value is not torch.default_generator and value.device.type == "cpu":
            found.append(_TorchGenerator(value))
    return found


def _reachable(roots: Iterable[Any]) -> Iterator[Any]:
    queue = list(roots)
    seen: dict[int, Any] = {}  # holds the objects, so that no id is reused while walking
    for value in queue:
        if id(value) in seen or isinstance(value, _ATOMS) or len(seen) > _MAX_OBJECTS:
            continue
        seen[id(value)] = value
        yield value
        queue.extend(_children(value))


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values()) if len(value) <= _MAX_ELEMENTS else []
    if isinstance(value, list | tuple | set | frozenset):
        return list(value) if len(value) <= _MAX_ELEMENTS else []
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return _function_children(value)
    if isinstance(value, types.ModuleType):
        return []
    return [*_attributes(value), *_class_methods(type(value))]


def _attributes(value: Any) -> list[Any]:
    children = list(getattr(value, "__dict__", {}).values())
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                children.append(object.__getattribute__(value, name))
            except AttributeError:
                continue
    return children


def _class_methods(cls: type) -> list[Any]:
    """The functions of a class written in Python by the user; library classes keep their generators in attributes."""
    return [value for value in vars(cls).values() if isinstance(value, types.FunctionType)]


def _function_children(function: types.FunctionType) -> list[Any]:
    children = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            children.append(cell.cell_contents)
        except ValueError:
            continue  # a cell that is not filled yet
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(
            value, np.random.Generator | np.random.RandomState | random.Random | torch.Generator | types.FunctionType
        ):
            children.append(value)
    return children
