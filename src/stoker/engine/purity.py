"""Proves, for the simplest datasets, that their code draws no random numbers, so that nothing needs to be seeded for it.

Seeding three generators costs about 10 µs a sample: nothing beside a decoded image, far more than a row of a table. The
proof is conservative: Stoker's own datasets say so themselves, torch's ``TensorDataset`` and its wrappers are known, and
a ``__getitem__`` that calls nothing and only indexes plain data cannot draw. Everything else counts as drawing.
"""

from __future__ import annotations

import dis
import types
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, StackDataset, Subset, TensorDataset, default_collate, default_convert

_PLAIN = (int, float, complex, bool, str, bytes, type(None))
_ARRAYS = (torch.Tensor, np.ndarray, np.memmap)
_HARMLESS_OPCODES = frozenset({
    "RESUME", "NOP", "CACHE", "EXTENDED_ARG", "COPY", "SWAP", "POP_TOP", "RETURN_VALUE", "RETURN_CONST",
    "LOAD_CONST", "LOAD_SMALL_INT", "LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "STORE_FAST", "STORE_FAST_LOAD_FAST", "LOAD_ATTR",
    "BINARY_SUBSCR", "BINARY_SLICE", "BUILD_SLICE", "UNPACK_SEQUENCE",
    "BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP", "BUILD_CONST_KEY_MAP",
})  # fmt: skip


def only_indexes(value: object) -> bool:
    """Whether `value` (a dataset or a collate function) is known to do nothing but index plain data: no code, no randomness."""
    if value is None or value is default_collate or value is default_convert:
        return True
    if type(value) is TensorDataset or _is_plain(value):
        return True
    wrapped = wrapped_datasets(value)
    if wrapped:
        return all(map(only_indexes, wrapped))
    getitem = getattr(type(value), "__getitem__", None)
    return (
        isinstance(getitem, types.FunctionType)
        and not hasattr(type(value), "__getitems__")
        and _only_subscripts(getitem, value)
    )


def draws_nothing(value: Any) -> bool:
    """Whether `value` provably draws no random numbers, other than through Stoker's own operations."""
    declared = getattr(value, "draws_randomness", None)
    if declared is not None:
        return not declared
    wrapped = wrapped_datasets(value)
    return all(map(draws_nothing, wrapped)) if wrapped else only_indexes(value)


def wrapped_datasets(value: Any) -> list[Any]:
    """The datasets inside one of torch's wrappers, which adds no code of a user's to theirs; none for anything else."""
    if type(value) is Subset:
        return [value.dataset]
    if type(value) is ConcatDataset:
        return list(value.datasets)
    if type(value) is StackDataset:
        parts = value.datasets
        return list(parts.values() if isinstance(parts, dict) else parts)
    return []


def _only_subscripts(getitem: types.FunctionType, dataset: Any) -> bool:
    """Whether the code is loads, attribute loads of plain attributes, and subscripts, and so can call nothing of the user's."""
    kind: Any = type(dataset)
    if kind.__getattribute__ is not object.__getattribute__ or hasattr(kind, "__getattr__"):
        return False
    attributes = getattr(dataset, "__dict__", {})
    for instruction in dis.get_instructions(getitem):
        if instruction.opname == "BINARY_OP" and "[" in instruction.argrepr:
            continue  # how later Pythons spell a subscript
        if instruction.opname not in _HARMLESS_OPCODES:
            return False
        if instruction.opname == "LOAD_ATTR" and (
            instruction.argval not in attributes
            or hasattr(type(dataset), instruction.argval)
            or not _is_plain(attributes[instruction.argval])
        ):
            return False
    return True


def _is_plain(value: Any) -> bool:
    """Plain data: arrays, numbers, strings, and lists, tuples and dicts of those, one level deep."""
    if type(value) in _ARRAYS:
        return not (isinstance(value, np.ndarray) and value.dtype == object)
    if type(value) in (list, tuple):
        return set(map(type, value)) <= {*_PLAIN, *_ARRAYS}
    if type(value) is dict:
        return set(map(type, value.values())) <= {*_PLAIN, *_ARRAYS}
    return type(value) in _PLAIN
