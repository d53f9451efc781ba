"""Every exception that Stoker raises on purpose.

::

    StokerError
    ├── ArgumentError (ValueError)       an argument breaks a rule that can be checked at once
    ├── TypeMismatchError (TypeError)    a value of a type that the operation cannot take
    ├── StateError (ValueError)          a state that does not belong to this loader
    ├── DataError (RuntimeError)         data that cannot be read
    │   ├── EmptyFolderError             no samples where samples were expected
    │   ├── ImageError                   one image that cannot be decoded; names its path
    │   └── StoreError                   a packed store that is damaged, or cannot hold what it is given
    ├── MemoryLimitError (MemoryError)   what was asked for does not fit; names both figures
    ├── MissingPackageError (ImportError) a package that a reader needs is not installed; names the extra
    ├── TravelError (TypeError)          a dataset that cannot be sent to a worker; names the attribute
    ├── WorkerError (RuntimeError)       a worker that failed to start, died, or hung
    └── SkipSample                       no failure: a dataset raises it for a sample that is not wanted

Each is also the built-in exception in parentheses, so that code which catches ``ValueError`` goes on working.
A message says what was given, which rule it broke, and what to do.
"""

from __future__ import annotations


class StokerError(Exception):
    """The root of all exceptions that Stoker raises on purpose."""


class ArgumentError(StokerError, ValueError):
    """An argument breaks a rule that can be checked at once."""


class TypeMismatchError(StokerError, TypeError):
    """A value of a type that the operation cannot take."""


class StateError(StokerError, ValueError):
    """A state that does not belong to this loader, or is damaged."""


class DataError(StokerError, RuntimeError):
    """Data that cannot be read."""


class EmptyFolderError(DataError):
    """No samples where samples were expected."""


class ImageError(DataError):
    """One image that cannot be decoded. The message names its path where there is one."""


class StoreError(DataError):
    """A packed store that is damaged, or cannot hold what it is given. The message names file, offset and rows where there are any."""


class MemoryLimitError(StokerError, MemoryError):
    """What was asked for does not fit in memory. The message names both figures."""


class MissingPackageError(StokerError, ImportError):
    """A package that a reader needs is not installed. The message says what to install."""


class TravelError(StokerError, TypeError):
    """A dataset that cannot be sent to a worker. The message names the attribute that cannot, and the fix."""


class WorkerError(StokerError, RuntimeError):
    """A worker that failed to start, died, or hung."""


class SkipSample(StokerError):  # noqa: N818 - no error but a signal, as StopIteration is
    """Raised by a map-style dataset (or a transform of it) for a sample that is not wanted; `Dataset.filter` raises it.

    Whatever ``on_error`` says, a shuffled `Loader` replaces the sample by another one, drawn from its key, and an ordered one
    leaves its row out. It counts for no limit and is listed in no quarantine. Elsewhere (torch's own DataLoader) it is an
    error like any other.
    """
