"""Failures: what to do about a sample that cannot be made, and how an error crosses from a worker to the loop."""

from __future__ import annotations

import json
import os
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stoker.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Skipped:
    """A sample that was skipped: where it stood, which one it was, and why."""

    epoch: int
    position: int
    index: Any
    path: str | None
    error: str


@dataclass(frozen=True)
class ErrorPolicy:
    """What a loader does about samples that raise. Pass it as ``Loader(on_error=...)``.

    Attributes:
        action: "raise" ends the loop with the sample's error; "skip" goes on. In a shuffled loader a skipped sample is
            replaced by another one, drawn from its key, so that every run replaces alike and steps stay as they are; in
            an ordered one (evaluation) its row is left out and the batch is smaller.
        limit: how many samples may be skipped in one epoch before the error is raised after all; None for no limit.
        quarantine: a file that gets one JSON line for each skipped sample: epoch, position, index, path, error.
    """

    action: str = "raise"
    limit: int | None = None
    quarantine: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.action not in ("raise", "skip"):
            raise ArgumentError(f"on_error must be 'raise', 'skip' or a stoker.ErrorPolicy; got {self.action!r}.")
        if self.limit is not None and self.limit < 0:
            raise ArgumentError(f"limit must be at least 0, or None for no limit; got {self.limit}.")

    @property
    def skips(self) -> bool:
        return self.action == "skip"

    @staticmethod
    def of(value: Any) -> ErrorPolicy:
        """The policy that ``on_error=value`` stands for."""
        if isinstance(value, ErrorPolicy):
            return value
        if not isinstance(value, str):
            raise ArgumentError(f"on_error must be 'raise', 'skip' or a stoker.ErrorPolicy; got {value!r}.")
        return ErrorPolicy(value)


class SkipLedger:
    """Counts the skipped samples of an epoch and writes the quarantine file. The loop's alone; not thread-safe."""

    def __init__(self, policy: ErrorPolicy) -> None:
        self._policy = policy
        self._count: dict[int, int] = {}

    def record(self, skipped: list[Skipped]) -> None:
        """Raises DataError when a skip exceeds the policy's limit."""
        for skip in skipped:
            count = self._count[skip.epoch] = self._count.get(skip.epoch, 0) + 1
            if self._policy.quarantine is not None:
                with Path(self._policy.quarantine).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**asdict(skip), "index": _jsonable(skip.index)}) + "\n")
            limit = self._policy.limit
            if limit is not None and count > limit:
                raise DataError(
                    f"{count} samples of epoch {skip.epoch} could not be loaded, which exceeds the limit of {limit}; "
                    f"the last one was sample {skip.index}: {skip.error}"
                )


def _jsonable(index: Any) -> Any:
    return index if isinstance(index, int | str | float | bool | None) else repr(index)


def note_sample(error: BaseException, index: Any, path: str | None) -> None:
    """Writes on an exception which sample it belongs to."""
    error.add_note(f"stoker: while loading sample {index}" + (f" ({path})" if path else ""))


@dataclass(frozen=True)
class RemoteError:
    """An exception of a worker, as text and, where it can be rebuilt, as its type."""

    kind: type[BaseException] | None
    kind_name: str
    text: str
    formatted: str
    where: str

    @staticmethod
    def of(error: BaseException, where: str) -> RemoteError:
        formatted = "".join(traceback.format_exception(error))
        return RemoteError(type(error), type(error).__name__, str(error), formatted, where)

    def without_type(self) -> RemoteError:
        """For an exception whose class cannot travel."""
        return RemoteError(None, self.kind_name, self.text, self.formatted, self.where)

    def rebuild(self) -> BaseException:
        """An exception of the original type whose text holds the worker's traceback, as torch words it.

        A type that cannot be made from one text (required arguments, a text of its own) becomes a RuntimeError.
        """
        message = f"Caught {self.kind_name} {self.where}.\nOriginal {self.formatted}"
        if self.kind is None:
            return RuntimeError(message)
        if issubclass(self.kind, KeyError):
            return _LegibleKeyError(message) if self.kind is KeyError else self.kind(message)
        try:  # as torch does: a class that has a `message` takes its text by that name
            kind: Any = self.kind
            error: BaseException = kind(message=message) if getattr(kind, "message", None) else kind(message)
        except Exception:
            return RuntimeError(message)
        return error if message in str(error) else RuntimeError(message)


class _LegibleKeyError(KeyError):
    """A KeyError shows the repr of its text; this one shows the text."""

    def __str__(self) -> str:
        return str(self.args[0])
