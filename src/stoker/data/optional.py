"""Packages that one reader needs, and that are imported when it is used."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from stoker.errors import MissingPackageError


@cache  # looking a module up takes longer than reading a value
def require(module: str, *, extra: str | None = None) -> Any:
    """The module, imported. A package that is installed and fails to import raises its own error.

    Args:
        module: its dotted name.
        extra: the extra of Stoker's that brings it; None where Stoker itself requires it.

    Raises:
        MissingPackageError: the package is not installed; says how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        install = f"stoker[{extra}]" if extra else package
        raise MissingPackageError(
            f"{package} is not installed, and this needs it; install it with: pip install '{install}'",
            name=package,
        ) from error
