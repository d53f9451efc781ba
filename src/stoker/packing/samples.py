"""The samples that are packed: read from the source, and transformed, each under a key of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stoker.data.dataset import Dataset
from stoker.engine.fetch import sample_path
from stoker.engine.seeding import Seeder
from stoker.errors import DataError
from stoker.image.decode import EncodedImage
from stoker.order.keys import sample_key, set_current_epoch
from stoker.packing.images import is_image, packed_image
from stoker.packing.infer import column_of, flatten
from stoker.packing.options import PackOptions
from stoker.store.schema import Column


class Samples:
    """Makes the samples of a source as they are packed: a function of (source, options, index, variant). Not thread-safe."""

    def __init__(self, source: Any, options: PackOptions) -> None:
        self.source = source
        self.options = options
        self._seeder = Seeder(source, options.transform)

    def __len__(self) -> int:
        return len(self.source)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Keeps the caller's random state from being changed."""
        with self._seeder.preserved():
            try:
                yield
            finally:
                set_current_epoch(0)

    def make(self, index: int, variant: int) -> tuple[Any, dict[str, Any], int]:
        """The structure of a sample, its values by column, and the bytes that it had in the source."""
        set_current_epoch(variant)
        self._seeder.seed(sample_key(self.options.seed, variant, index))
        sample = self._read(index)
        if self.options.transform is not None:
            sample = self.options.transform(sample)
        tree, values = flatten(sample)
        values, tree = _named_by_source(self.source, values, tree)
        return tree, values, sum(_source_bytes(value) for value in values.values())

    def _read(self, index: int) -> Any:
        source = self.source
        if not isinstance(source, Dataset):
            return source[index]
        values = source.read(index)
        if self.options.transform is not None:  # a function of the user's gets what a map would give it
            values = tuple(source.present(name, value) for name, value in zip(source.columns, values, strict=True))
        return source.as_sample(values)

    def name(self, index: int) -> str | None:
        """What the source calls the sample, where it has names. Bytes of a file's name that are no UTF-8 are spelt out."""
        name = self.source.sample_name(index) if isinstance(self.source, Dataset) else None
        return None if name is None else name.encode(errors="surrogateescape").decode(errors="backslashreplace")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the source has them."""
        names = getattr(self.source, "classes", ())
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()

    def path(self, index: int) -> str | None:
        """Where the sample comes from, for errors."""
        return sample_path(self.source, index)

    def columns(self, values: dict[str, Any]) -> list[Column]:
        """The narrowest column for each value."""
        raw = self.options.images == "raw"
        return [column_of(name, value, raw_images=raw) for name, value in values.items()]

    def packed(self, value: Any) -> tuple[Any, str | None]:
        """A value as it is stored, and what was done to it, where it is an image."""
        return packed_image(value, self.options) if is_image(value) else (value, None)


def _named_by_source(source: Any, values: dict[str, Any], tree: Any) -> tuple[dict[str, Any], Any]:
    """The columns under the names that the source has for them, where they are still the same in number."""
    names = source.columns if isinstance(source, Dataset) else ()
    if list(values) == list(names) or len(values) != len(names) or any("dict" in part for part in _parts(tree)):
        return values, tree
    new = dict(zip(values, names, strict=True))
    return {new[name]: value for name, value in values.items()}, _renamed(tree, new)


def _parts(tree: Any) -> Iterator[Any]:
    yield tree
    ((kind, inner),) = tree.items()
    if kind in ("tuple", "list"):
        for part in inner:
            yield from _parts(part)


def _renamed(tree: Any, new: dict[str, str]) -> Any:
    ((kind, inner),) = tree.items()
    return {kind: new[inner] if kind == "column" else [_renamed(part, new) for part in inner]}


def _source_bytes(value: Any) -> int:
    """Bytes of a value before it is packed: a file's, an array's; of numbers eight."""
    data = value.data if isinstance(value, EncodedImage) else value
    if isinstance(data, bytes | bytearray):
        return len(data)
    if isinstance(value, str):
        return len(value.encode())
    return int(getattr(value, "nbytes", 8))


def explained(error: Exception, samples: Samples, index: int) -> DataError:
    """An error of a sample's, with the sample's name."""
    place = samples.path(index)
    where = f"sample {index}" + (f" ({place})" if place else "")
    return DataError(f"cannot pack {where}: {type(error).__name__}: {error}")
