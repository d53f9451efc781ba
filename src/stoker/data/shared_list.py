"""A list of plain values in one buffer: held once, whoever reads it.

A Python list of a million strings is a million objects, and reading one writes to its reference count. In worker
processes that share memory copy-on-write, every epoch copies more of it (pytorch/pytorch#13246). Here the elements are
bytes in an array, and an element becomes an object when it is asked for.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_ATOMS = frozenset({str, bytes, int, float, bool, type(None)})
_UTF8, _MARSHAL = "utf-8", "marshal"


def shareable(items: Any) -> bool:
    """Whether `items` is a plain list of immutable plain values: str, bytes, int, float, bool, None, or tuples of these."""
    if type(items) is not list:
        return False
    kinds = {*map(type, items)}
    if kinds <= _ATOMS:
        return True
    return kinds - _ATOMS == {tuple} and all(
        _ATOMS.issuperset(map(type, item)) for item in items if type(item) is tuple
    )


class SharedList(MutableSequence[Any]):
    """Reads like the list it was made of; element access is O(1) and makes a new object. The first change turns it into a list of its own.

    Thread-safe for reading. Pickles as its buffers (out of band with protocol 5).
    """

    def __init__(self, items: Iterable[Any]) -> None:
        items = list(items)
        self._own: list[Any] | None = None
        self._coding = _UTF8 if all(type(item) is str for item in items) else _MARSHAL
        encoded = [self._encode(item) for item in items]
        self._offsets: NDArray[np.int64] = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(data) for data in encoded], out=self._offsets[1:])
        self._data: NDArray[np.uint8] = np.frombuffer(b"".join(encoded), np.uint8)

    def _encode(self, item: Any) -> bytes:
        return item.encode("utf-8", "surrogatepass") if self._coding is _UTF8 else marshal.dumps(item)

    def _decode(self, data: bytes) -> Any:
        return data.decode("utf-8", "surrogatepass") if self._coding == _UTF8 else marshal.loads(data)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self._data.nbytes + self._offsets.nbytes

    def __len__(self) -> int:
        return len(self._offsets) - 1 if self._own is None else len(self._own)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if self._own is not None:
            return self._own[index]
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        length = len(self._offsets) - 1
        number = index.__index__()
        if number < 0:
            number += length
        if not 0 <= number < length:
            raise IndexError(f"index {index} is out of range for {length} elements")
        return self._decode(self._data[self._offsets[number] : self._offsets[number + 1]].tobytes())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own) if self._own is not None else (self[number] for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | SharedList):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SharedList({len(self):,} elements, {self.nbytes:,} bytes)"

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._thaw()[index] = value

    def __delitem__(self, index: int | slice) -> None:
        del self._thaw()[index]

    def insert(self, index: int, value: Any) -> None:
        self._thaw().insert(index, value)

    def copy(self) -> list[Any]:
        """A list of the elements."""
        return list(self)

    def sort(self, **arguments: Any) -> None:
        """As a list's own."""
        self._thaw().sort(**arguments)

    def _thaw(self) -> list[Any]:
        if self._own is None:
            self._own = list(self)
        return self._own
