"""Keys: pinned for ever, equal in scalar and vector form, apart from each other."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.order.keys import (
    KeyedRandom,
    batch_key,
    current_key,
    derive,
    mix64,
    mix64_array,
    sample_key,
    sample_keys,
    set_current_key,
)

words = st.integers(0, 2**64 - 1)


def test_keys_never_change() -> None:
    # A later version with other keys would give every resumed run other augmentations.
    assert [mix64(value) for value in (0, 1, 2**64 - 1)] == [0, 6238072747940578789, 13029008266876403067]
    assert derive(7, 1, 2, 3) == 17826926650308535488
    assert [sample_key(7, 3, 10**12), batch_key(7, 3, 10**12)] == [13508502791091283660, 10563916167409991169]
    random = KeyedRandom(5)
    assert [random.uniform(), random.integers(0, 1000), random.normal()] == [
        0.4167470637848455,
        536,
        0.20663438738850978,
    ]


@given(st.lists(words, max_size=20))
def test_the_vector_form_is_the_scalar_one(values: list[int]) -> None:
    assert mix64_array(np.array(values, np.uint64)).tolist() == [mix64(value) for value in values]


@given(words, st.integers(0, 1000), st.lists(st.integers(0, 2**62), max_size=20))
def test_sample_keys_are_the_sample_key_of_each(seed: int, epoch: int, positions: list[int]) -> None:
    assert sample_keys(seed, epoch, np.array(positions, np.int64)).tolist() == [
        sample_key(seed, epoch, p) for p in positions
    ]


def test_keys_of_samples_batches_epochs_and_seeds_are_apart() -> None:
    keys = {
        kind(seed, epoch, position)
        for kind in (sample_key, batch_key)
        for seed in range(5)
        for epoch in range(20)
        for position in range(200)
    }
    assert len(keys) == 2 * 5 * 20 * 200


def test_the_order_of_words_counts() -> None:
    assert derive(0, 1, 2) != derive(0, 2, 1)
    assert derive(0, 0) != derive(0, 0, 0) != derive(0)


def test_draws_are_uniform() -> None:
    draws = np.array(
        [KeyedRandom(key).uniform() for key in range(20_000)]
    )  # the first draw of each key: what most operations use
    counts = np.histogram(draws, bins=50, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 49 + 5 * np.sqrt(98)
    integers = np.bincount([KeyedRandom(key).integers(3, 10) for key in range(21_000)], minlength=10)[3:]
    assert ((integers - 3000) ** 2 / 3000).sum() < 6 + 5 * np.sqrt(12)
    normals = np.array([KeyedRandom(key).normal() for key in range(20_000)])
    assert abs(normals.mean()) < 0.04
    assert abs(normals.std() - 1) < 0.03


@pytest.mark.parametrize("bounds", [(3, 3), (3, 2)])
def test_an_empty_range_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="integers needs low < high"):
        KeyedRandom(0).integers(*bounds)


def test_the_current_key_is_a_thread_s_own() -> None:
    set_current_key(5)
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(current_key()))
    thread.start()
    thread.join()
    assert (current_key(), seen) == (5, [None])
    set_current_key(None)
    assert current_key() is None
