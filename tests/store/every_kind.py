"""Samples of every kind that a store keeps, and what comes back of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stoker.data.dataset import Dataset
from stoker.image.decode import EncodedImage

PICTURE = (Path(__file__).parent / "golden" / "picture.jpg").read_bytes()


class Made(torch.utils.data.Dataset[Any]):
    """A map-style dataset of what a function makes of an index."""

    def __init__(self, make: Callable[[int], Any], length: int) -> None:
        self.make = make
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Named(Dataset):
    """Numbers with a name for each, and classes."""

    columns = ("value",)

    def __init__(self, names: list[str], classes: tuple[str, ...] = ()) -> None:
        self.names = names
        self.classes = classes

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> tuple[Any, ...]:
        return (sum(map(ord, self.names[index])),)

    def sample_name(self, index: int) -> str:
        return self.names[index]


def numbers(index: int) -> dict[str, Any]:
    """Scalars and arrays of one shape."""
    return {
        "whole": index - 1,
        "real": index / 3,
        "flag": index % 2 == 0,
        "generic": np.float32(index / 7),
        "zero_dim": torch.tensor(index, dtype=torch.int16),
        "tensor": torch.arange(6, dtype=torch.float32).reshape(2, 3) * index,
        "array": np.arange(4, dtype=np.uint16) + index,
        "half": np.full(3, index / 4, np.float16),
        "brain": torch.full((2,), index / 4, dtype=torch.bfloat16),
        "mask": torch.tensor([index % 2 == 0, True]),
    }


def varying(index: int) -> dict[str, Any]:
    """Values whose sizes differ, empty ones among them."""
    some = index % 3
    return {
        "ragged": np.arange(some, dtype=np.float32),
        "planes": torch.arange(some * 2, dtype=torch.int64).reshape(some, 2),
        "cubes": np.ones((2, some, index % 2), np.uint8) * index,
        "marks": np.arange(some) % 2 == 0,
        "brain": torch.ones(some, dtype=torch.bfloat16),
        "list": [index, -index][: 1 + index % 2],
        "reals": [0.5] * (1 + some),
        "text": "naïve 漢字 🔥\0" * some,
        "bytes": bytes(range(some)),
        "any": [None, {"a": [index, "ä"]}, True, 1.5],
        "nothing": None,
    }


def structured(index: int) -> tuple[Any, ...]:
    """Tuples, lists and dicts within each other."""
    return ({"a": (index, [np.int8(1), np.zeros(2)]), "b": {"c": "x" * index}}, torch.tensor([index]), index % 2)


def ppm(index: int) -> EncodedImage:
    """A picture of which no encoder's version decides the bytes."""
    width = 2 + index
    return EncodedImage(b"P6 %d 1 255\n" % width + bytes(range(index, index + 3 * width)))


def pictured(index: int) -> tuple[Any, ...]:
    """A JPEG, a picture of another format, a picture in memory, a label."""
    memory = Image.fromarray(np.full((3, 2 + index, 3), 25 * index, np.uint8))
    return EncodedImage(PICTURE), ppm(index), memory, index


def golden(index: int) -> dict[str, Any]:
    """Everything, so that no bytes depend on a library's version but Arrow's."""
    return {
        "numbers": numbers(index), "varying": varying(index), "structure": structured(index),
        "pictures": (EncodedImage(PICTURE), ppm(index)),
    }  # fmt: skip


def given_back(value: Any) -> Any:
    """What a sample of a store holds where the packed one held `value`: pictures are pixels, the rest is as it was."""
    if isinstance(value, EncodedImage):
        return torch.from_numpy(value.decode()).permute(2, 0, 1)
    if isinstance(value, Image.Image):
        return torch.from_numpy(np.array(value.convert("RGB"))).permute(2, 0, 1)
    if isinstance(value, dict):
        return {key: given_back(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(given_back, value))
    return value


def assert_same(found: Any, expected: Any) -> None:
    """Equal in type, dtype, shape and bit for bit in value."""
    assert type(found) is type(expected), f"{type(found)} is not {type(expected)}"
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert _bytes(found) == _bytes(expected)
    elif isinstance(expected, np.ndarray | np.generic):
        assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    else:
        assert repr(found) == repr(expected)


def _bytes(tensor: torch.Tensor) -> bytes:
    return b"" if not tensor.numel() else tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
