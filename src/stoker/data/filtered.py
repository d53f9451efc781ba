"""A dataset without the samples that a user does not want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoker.data.dataset import Column, Dataset, check_index, forward
from stoker.errors import ArgumentError, SkipSample


class Filtered(Dataset):
    """The samples of `source` that pass; asking for one of the others raises `stoker.SkipSample`.

    Args:
        source: a dataset of columns.
        predicate: gets a sample as `source` gives it.
        by_column: functions of single columns, asked first.
    """

    drops_samples = True
    """Whether samples may be missing: then rows are not written straight into batches."""

    def __init__(
        self, source: Dataset, predicate: Callable[[Any], object] | None, by_column: dict[str, Column] | None = None
    ) -> None:
        by_column = by_column or {}
        unknown = [name for name in by_column if name not in source.columns]
        if unknown:
            raise ArgumentError(
                f"filter needs columns of the dataset, which has {', '.join(source.columns)}; got {', '.join(unknown)}."
            )
        if predicate is None and not by_column:
            raise ArgumentError("filter needs a predicate, or a function of a column; got neither.")
        self.source = source
        self.predicate = predicate
        self.functions = by_column
        self.columns = source.columns
        self.transform_batch = getattr(source, "transform_batch", None)

    @property
    def draws_randomness(self) -> bool:  # type: ignore[override]
        """As the source does; predicates may draw too, unless they say that they do not."""
        functions = [*self.functions.values(), *([] if self.predicate is None else [self.predicate])]
        return self.source.draws_randomness or any(
            getattr(function, "draws_randomness", True) for function in functions
        )

    def __len__(self) -> int:
        """How many samples the source has, those that are dropped included."""
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self._finished(self._read(check_index(index, len(self))), index)

    def read(self, index: int) -> tuple[Any, ...]:
        """Raises SkipSample where the sample does not pass."""
        values = self._read(index)
        if self.predicate is not None:
            self._finished(values, index)
        return values

    def _read(self, index: int) -> tuple[Any, ...]:
        """The raw values of a sample whose columns pass."""
        values = self.source.read(index)
        for column, value in zip(self.columns, values, strict=True):
            function = self.functions.get(column)
            if function is not None and not function(self.source.present(column, value)):
                raise SkipSample(f"sample {index} was dropped by the filter of its column {column}")
        return values

    def _finished(self, values: tuple[Any, ...], index: int) -> Any:
        sample = self.source.as_sample(tuple(map(self.source.finish, self.columns, values)))
        if self.predicate is not None and not self.predicate(sample):
            raise SkipSample(f"sample {index} was dropped by a filter")
        return sample

    def finish(self, column: str, value: Any) -> Any:
        return self.source.finish(column, value)

    def present(self, column: str, value: Any) -> Any:
        return self.source.present(column, value)

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        return self.source.as_sample(values)

    def sample_path(self, index: int) -> str | None:
        return self.source.sample_path(index)

    def sample_name(self, index: int) -> str | None:
        return self.source.sample_name(index)

    def fingerprint(self) -> dict[str, Any]:
        """As the source's: a predicate says nothing of itself."""
        return {**self.source.fingerprint(), "type": "Filtered"}

    def describe_transforms(self) -> list[tuple[str, str]]:
        """The source's, and the filter."""
        described = list(getattr(self.source, "describe_transforms", list)())
        named = [*self.functions.items(), *([] if self.predicate is None else [("samples", self.predicate)])]
        texts = (
            f"{name}: filter by {getattr(function, '__name__', type(function).__name__)}" for name, function in named
        )
        return [*described, *((text, "sample") for text in texts)]

    @property
    def read_ahead(self) -> Any:
        """The source's."""
        return self.source.read_ahead  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return forward(self, name)
