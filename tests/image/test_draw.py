"""Rectangles drawn for a batch in the native core are those that RandomResizedCrop draws one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker._native import draw_resized_crops
from stoker.image.ops import RandomResizedCrop
from stoker.order.keys import KeyedRandom

OPERATIONS = [
    RandomResizedCrop(224),
    RandomResizedCrop(224, scale=(0.5, 2.0), ratio=(0.3, 5.0)),  # many tries fail
    RandomResizedCrop(224, scale=(0.9, 1.0), ratio=(4.0, 4.5)),  # nearly all do: the centred crop
    RandomResizedCrop(224, scale=(1e-6, 0.01), ratio=(1.0, 1.0)),
    RandomResizedCrop(224, scale=(1.0, 1.0), ratio=(0.1, 0.2)),
]


def drawn(operation: RandomResizedCrop, keys: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    low, high = operation.ratio
    return draw_resized_crops(keys, sizes, *operation.scale, math.log(low), math.log(high), low, high)


def one_by_one(operation: RandomResizedCrop, keys: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    boxes = [
        operation.draw(height, width, KeyedRandom(key))
        for key, (height, width) in zip(keys.tolist(), sizes.tolist(), strict=True)
    ]
    return np.array([(box.top, box.left, box.height, box.width) for box in boxes])


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
@pytest.mark.parametrize("largest", [3, 700, 65_000])
def test_many_are_those_drawn_one_by_one(number: int, largest: int) -> None:
    generator = np.random.default_rng(number)
    keys = generator.integers(0, 2**64, 6000, dtype=np.uint64)
    sizes = generator.integers(1, largest, (6000, 2)).astype(np.int32)
    operation = OPERATIONS[number]
    assert np.array_equal(drawn(operation, keys, sizes), one_by_one(operation, keys, sizes))


@given(
    st.integers(0, 2**64 - 1),
    st.tuples(st.integers(1, 2**16), st.integers(1, 2**16)),
    st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 4.0)),
    st.tuples(st.floats(0.01, 1.0), st.floats(1.0, 100.0)),
)
def test_any_is_that_drawn_alone(
    key: int, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    operation = RandomResizedCrop(8, scale=scale, ratio=ratio)
    keys, sizes = np.array([key], np.uint64), np.array([size], np.int32)
    assert np.array_equal(drawn(operation, keys, sizes), one_by_one(operation, keys, sizes))


def test_golden_rectangles() -> None:
    """A later version draws the same."""
    keys = np.arange(4, dtype=np.uint64) + np.uint64(2**63)
    boxes = drawn(OPERATIONS[0], keys, np.array([[375, 500]] * 4, np.int32))
    assert boxes.tolist() == GOLDEN


GOLDEN = [[21, 120, 256, 335], [9, 55, 140, 180], [116, 170, 188, 190], [43, 95, 302, 353]]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-3, 5)])
def test_an_image_has_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="image 0 has no pixels"):
        drawn(OPERATIONS[0], np.zeros(1, np.uint64), np.array([size], np.int32))
