"""Objects that a command is given by name: ``module:attribute``."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Any

from stoker.errors import ArgumentError

_REFERENCE = re.compile(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*")


def is_reference(text: str) -> bool:
    """Whether this names an object, rather than a path."""
    return _REFERENCE.fullmatch(text) is not None and not os.path.exists(text)


def named_object(reference: str) -> Any:
    """The object that ``module:attribute`` names. Modules in the current directory can be named too.

    Raises:
        ArgumentError: it is not of that form, or there is no such module or attribute.
    """
    if _REFERENCE.fullmatch(reference) is None:
        raise ArgumentError(f"name an object as module:attribute (my_module:my_function); got {reference!r}.")
    module_name, _, path = reference.partition(":")
    value: Any = _module(module_name)
    for number, part in enumerate(path.split(".")):
        if not hasattr(value, part):
            whose = module_name if number == 0 else f"{module_name}:{'.'.join(path.split('.')[:number])}"
            raise ArgumentError(f"{whose} has no attribute {part!r}{_choices(value)}.")
        value = getattr(value, part)
    return value


def named_dataset(reference: str) -> Any:
    """The dataset that ``module:attribute`` names, or that the function of that name returns."""
    value = named_object(reference)
    is_maker = callable(value) and (isinstance(value, type) or not hasattr(value, "__len__"))
    return value() if is_maker else value


def _module(name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        raise ArgumentError(
            f"there is no module {error.name!r}, neither in {here} nor installed; run this where it can be imported."
        ) from error


def _choices(value: Any) -> str:
    names = (
        [name for name in vars(value) if name.isidentifier() and not name.startswith("_")]
        if hasattr(value, "__dict__")
        else []
    )
    return f"; it has {', '.join(sorted(names)[:12])}{' …' if len(names) > 12 else ''}" if names else ""
