"""Datasets of named columns: what `stoker.open` returns, and what can be mapped, selected and split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stoker.data.splits import split_indices
from stoker.errors import ArgumentError
from stoker.image.joint import Joint

Column = Callable[[Any], Any]


class Dataset(torch.utils.data.Dataset[Any]):
    """A map-style dataset whose samples are the tuple of their columns; with one column, the value itself.

    A source implements `columns`, `__len__` and `read`, which gives the raw columns of a sample, and `finish`, which
    makes of a raw value what a sample without a map holds.
    """

    columns: tuple[str, ...] = ()

    draws_randomness: bool = False
    """Whether a sample may hold foreign code's random draws. Stoker's own sources have none."""

    prefers_workers: bool = False
    """Whether a batch that is read in bulk costs real work, such as decompression: then workers pay, else they only add cost."""

    chunk_rows: int | None = None
    """Neighbouring rows that are read or decoded together, so that a block shuffle takes them together; None where each is read alone."""

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> tuple[Any, ...]:
        """The raw columns of sample `index`: an encoded image is not decoded here."""
        raise NotImplementedError

    def finish(self, column: str, value: Any) -> Any:
        """What a sample holds in a column that nobody maps."""
        return value

    def present(self, column: str, value: Any) -> Any:
        """What a function of a user's gets for a raw value; a Pipeline (`takes_encoded`) gets the raw value itself."""
        return value

    def __getitem__(self, index: int) -> Any:
        return self.as_sample(tuple(map(self.finish, self.columns, self.read(check_index(index, len(self))))))

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        """A sample of these columns."""
        return values if len(values) != 1 else values[0]

    def sample_path(self, index: int) -> str | None:
        """The file that a sample comes from, where it comes from one."""
        return None

    def sample_name(self, index: int) -> str | None:
        """What the source calls a sample (a relative path, a key), where it has a name: a packed store keeps it."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """What a resume state knows of the dataset."""
        return {"type": type(self).__name__, "length": len(self), "columns": list(self.columns)}

    def map(
        self, batch: Callable[[Any], Any] | None = None, *, joint: Joint | None = None, **by_column: Column
    ) -> Dataset:
        """The dataset with functions applied: one for each named column, then `joint`, then `batch`.

        `joint` is for an image and what belongs to it, `batch` for whole batches after collation.

        Raises:
            ArgumentError: there is no such column; names those that there are.
        """
        unknown = [name for name in (*by_column, *(joint.columns if joint else ())) if name not in self.columns]
        if unknown:
            raise ArgumentError(
                f"map needs columns of the dataset, which has {', '.join(self.columns)}; got {', '.join(unknown)}."
            )
        return Mapped(self, by_column, batch, joint)

    def filter(self, predicate: Callable[[Any], object] | None = None, **by_column: Column) -> Dataset:
        """The dataset without the samples for which `predicate` is false, or a function of a named column is.

        Decided when a sample is made: a shuffled `Loader` replaces one that is dropped, an ordered one leaves it out, and
        ``len()`` stays as it is. Where the wanted samples are known beforehand (their labels are), `select` is better.
        Functions of columns get what those of `map` get, and images of other columns are not decoded for them.

        Raises:
            ArgumentError: there is no such column, or nothing to filter by.
        """
        from stoker.data.filtered import Filtered

        return Filtered(self, predicate, by_column)

    def select(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Dataset:
        """The samples at `indices`, in that order; an index may come more than once.

        Raises:
            ArgumentError: an index is out of range.
        """
        return Selected(self, np.asarray(indices, dtype=np.int64))

    def split(self, *fractions: float, seed: int = 0, stratify: Any = None, group: Any = None) -> tuple[Dataset, ...]:
        """Disjoint random parts, of these fractions of the samples; ``split(0.9)`` gives two, of 0.9 and 0.1. Decided by `seed` alone.

        Args:
            fractions: positive, at most 1 together.
            seed: another one gives other parts.
            stratify: a column's name, or an array with a value for each sample: every part has its fraction of each value.
            group: the same; samples of one value (a patient, a document) are all in one part.

        A column is read from all samples, one by one where the dataset does not have it as an array.

        Raises:
            ArgumentError: the fractions are not positive or add up to more than 1, there is no such column, or an array has
                another length.
        """
        strata, groups = self._values("stratify", stratify), self._values("group", group)
        parts = split_indices(len(self), fractions, seed, strata, groups)
        return tuple(self.select(part) for part in parts)

    def _values(self, argument: str, given: Any) -> NDArray[Any] | None:
        """A column, or an array as it is given."""
        if given is None or not isinstance(given, str):
            return None if given is None else np.asarray(given)
        if given not in self.columns:
            raise ArgumentError(
                f"{argument} must be a column of the dataset, which has {', '.join(self.columns)}, or an array; got {given!r}."
            )
        known = self.column(given)
        if known is not None:
            return known
        place = self.columns.index(given)
        return np.array([np.asarray(self.finish(given, self.read(index)[place])) for index in range(len(self))])

    def column(self, name: str) -> NDArray[Any] | None:
        """All values of a column, where the dataset has them as an array [len]; None where samples have to be read for them."""
        return None


class Mapped(Dataset):
    """A dataset with functions on its columns."""

    def __init__(
        self,
        source: Dataset,
        functions: dict[str, Column],
        batch: Callable[[Any], Any] | None,
        joint: Joint | None = None,
    ) -> None:
        self.source = source
        self.functions = functions
        self.joint = joint
        self._made = {*functions, *(joint.columns if joint else ())}
        self.columns = source.columns
        inner, outer = getattr(source, "transform_batch", None), batch
        self.transform_batch: Callable[[Any], Any] | None = outer if inner is None else inner
        if inner is not None and outer is not None:
            self.transform_batch = _Chain(inner, outer)

    @property
    def draws_randomness(self) -> bool:  # type: ignore[override]
        """Foreign functions may draw; Stoker's pipelines say so themselves."""
        functions = [*self.functions.values(), self.joint, self.transform_batch]
        return self.source.draws_randomness or any(
            getattr(function, "draws_randomness", True) for function in functions if function is not None
        )

    @property
    def prefers_workers(self) -> bool:  # type: ignore[override]
        """As the source does."""
        return self.source.prefers_workers

    @property
    def chunk_rows(self) -> int | None:  # type: ignore[override]
        """As the source has them."""
        return self.source.chunk_rows

    @property
    def get_batch(self) -> Callable[[NDArray[np.int64]], Any] | None:
        """The source's, where only whole batches are mapped."""
        return None if self._made else getattr(self.source, "get_batch", None)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> tuple[Any, ...]:
        named = zip(self.columns, self.source.read(index), strict=True)
        values = tuple(self._apply(name, value) for name, value in named)
        return values if self.joint is None else self._apply_joint(self.joint, values)

    def _apply(self, column: str, value: Any) -> Any:
        function = self.functions.get(column)
        if function is None:
            return value
        return function(value if getattr(function, "takes_encoded", False) else self.source.present(column, value))

    def _apply_joint(self, joint: Joint, values: tuple[Any, ...]) -> tuple[Any, ...]:
        sample = dict(zip(self.columns, values, strict=True))
        taken = {name: sample[name] for name in joint.columns}
        for name in taken.keys() - self.functions.keys() - joint.takes_raw:
            taken[name] = self.source.present(name, taken[name])
        return tuple((sample | joint(**taken)).values())

    def present(self, column: str, value: Any) -> Any:
        return value if column in self._made else self.source.present(column, value)

    def finish(self, column: str, value: Any) -> Any:
        return value if column in self._made else self.source.finish(column, value)

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        return self.source.as_sample(values)

    def column(self, name: str) -> NDArray[Any] | None:
        return None if name in self._made else self.source.column(name)

    def sample_path(self, index: int) -> str | None:
        return self.source.sample_path(index)

    def sample_name(self, index: int) -> str | None:
        return self.source.sample_name(index)

    def fingerprint(self) -> dict[str, Any]:
        return self.source.fingerprint()

    def describe_transforms(self) -> list[tuple[str, str]]:
        """Each operation and where it runs, for `Loader.explain`."""
        described = list(getattr(self.source, "describe_transforms", list)())
        for column, function in self.functions.items():
            if hasattr(function, "describe"):
                described += [(f"{column}: {text}", place) for text, place in function.describe()]
            else:
                described.append((f"{column}: {getattr(function, '__name__', type(function).__name__)}", "sample"))
        if self.joint is not None:
            columns = ", ".join(self.joint.columns)
            described += [(f"{columns}: {text}", place) for text, place in self.joint.describe()]
        return described

    @property
    def read_ahead(self) -> Any:
        """The source's."""
        return self.source.read_ahead  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return forward(self, name)


class Selected(Dataset):
    """Some samples of a dataset, in an order of their own."""

    def __init__(self, source: Dataset, indices: NDArray[np.int64]) -> None:
        outside = indices[(indices < 0) | (indices >= len(source))]
        if outside.size:
            raise ArgumentError(f"indices must be in [0, {len(source)}); got {outside[0]}.")
        self.source = source
        self.indices = indices
        self.columns = source.columns
        self.transform_batch = getattr(source, "transform_batch", None)
        get_batch = getattr(source, "get_batch", None)
        if get_batch is not None:
            self.get_batch = _SelectedBatches(get_batch, indices)

    @property
    def draws_randomness(self) -> bool:  # type: ignore[override]
        """As the source does."""
        return self.source.draws_randomness

    @property
    def prefers_workers(self) -> bool:  # type: ignore[override]
        """As the source does."""
        return self.source.prefers_workers

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> tuple[Any, ...]:
        return self.source.read(int(self.indices[index]))

    def finish(self, column: str, value: Any) -> Any:
        return self.source.finish(column, value)

    def present(self, column: str, value: Any) -> Any:
        return self.source.present(column, value)

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        return self.source.as_sample(values)

    def column(self, name: str) -> NDArray[Any] | None:
        values = self.source.column(name)
        return None if values is None else values[self.indices]

    def sample_path(self, index: int) -> str | None:
        return self.source.sample_path(int(self.indices[index]))

    def sample_name(self, index: int) -> str | None:
        return self.source.sample_name(int(self.indices[index]))

    def fingerprint(self) -> dict[str, Any]:
        return {**self.source.fingerprint(), "type": "Selected", "length": len(self)}

    def describe_transforms(self) -> list[tuple[str, str]]:
        """As the source's."""
        return list(getattr(self.source, "describe_transforms", list)())

    @property
    def read_ahead(self) -> Any:
        """The source's, by the indices of this one."""
        return _SelectedBatches(self.source.read_ahead, self.indices)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return forward(self, name)


class _SelectedBatches:
    def __init__(self, get_batch: Callable[[NDArray[np.int64]], Any], indices: NDArray[np.int64]) -> None:
        self._get_batch = get_batch
        self._indices = indices

    def __call__(self, indices: NDArray[np.int64]) -> Any:
        return self._get_batch(self._indices[indices])


class _Chain:
    def __init__(self, first: Callable[[Any], Any], second: Callable[[Any], Any]) -> None:
        self.first = first
        self.second = second

    def __call__(self, batch: Any) -> Any:
        return self.second(self.first(batch))


_FORWARDED = ("classes", "class_to_idx", "root", "mean_sample_bytes", "is_in_memory", "drops_samples")


def forward(dataset: Any, name: str) -> Any:
    """What a wrapper says of its source's classes; per-sample attributes are not forwarded, their order may differ."""
    if name in _FORWARDED and "source" in dataset.__dict__:
        return getattr(dataset.source, name)
    raise AttributeError(f"{type(dataset).__name__!r} object has no attribute {name!r}")


def check_index(index: int, length: int) -> int:
    """A position in ``[0, length)``; counts from the end where `index` is negative. Raises IndexError."""
    number = index.__index__()
    if not -length <= number < length:
        raise IndexError(f"index {index} is out of range for {length} samples")
    return number % length if length else number
