"""The keyed permutation: a bijection for every length, uniform, and the same for ever."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import ArgumentError
from stoker.order.permutation import TABLE_LIMIT, Permutation

KEYS = [0, 1, 0xDEADBEEF, (1 << 64) - 1]


def is_bijection(length: int, key: int) -> bool:
    image = Permutation(length, key)(np.arange(length, dtype=np.int64))
    return bool(image.dtype == np.int64) and bool((np.bincount(image, minlength=length) == 1).all())


def test_every_length_below_5000_is_a_bijection() -> None:
    assert all(is_bijection(length, key=length * 7919) for length in range(5000))


@pytest.mark.parametrize("exponent", range(12, 25))
def test_lengths_next_to_powers_of_two_are_bijections(exponent: int) -> None:
    for length in (2**exponent - 1, 2**exponent, 2**exponent + 1):
        assert is_bijection(length, key=exponent)


@given(length=st.integers(TABLE_LIMIT, 1 << 62), key=st.integers(0, 2**64 - 1), seed=st.integers(0, 2**32 - 1))
def test_results_lie_inside_and_differ(length: int, key: int, seed: int) -> None:
    positions = np.unique(np.random.default_rng(seed).integers(0, length, 1000))
    image = Permutation(length, key)(positions)
    assert ((image >= 0) & (image < length)).all()
    assert len(np.unique(image)) == len(positions)


@given(length=st.integers(1, 200_000), key=st.integers(0, 2**64 - 1), start=st.integers(0, 199_999))
def test_blocks_agree_with_single_positions(length: int, key: int, start: int) -> None:
    permutation = Permutation(length, key)
    positions = np.arange(start % length, min(length, start % length + 50), dtype=np.int64)
    singly = [int(permutation(np.array([position]))[0]) for position in positions]
    assert permutation(positions).tolist() == singly


def test_a_million_million_needs_no_memory() -> None:
    permutation = Permutation(10**12, 5)
    image = permutation(np.array([0, 1, 10**12 - 1]))
    assert len(set(image.tolist())) == 3


@pytest.mark.parametrize("length", [-1, (1 << 62) + 1])
def test_lengths_out_of_range_are_refused(length: int) -> None:
    with pytest.raises(ArgumentError, match=rf"length must be between 0 and 2\^62; got {length}"):
        Permutation(length, 0)


# Literal output: a later version that shuffles otherwise would break every saved state.
GOLDEN = {
    (10, 1): [9, 0, 1, 2, 3, 8, 4, 6],
    (65_535, 2): [6700, 27843, 55221, 61334, 18979, 28507, 49122, 29596],
    (65_536, 3): [22119, 10324, 13937, 17674, 39976, 32940, 36188, 49421],
    (65_537, 4): [33520, 40146, 4284, 8697, 28031, 55231, 34851, 2626],
    (1_000_000, 5): [808590, 148874, 24488, 134584, 749407, 87882, 737727, 888997],
    (10**12, 6): [
        222935597323,
        279746661502,
        281373034261,
        579554315468,
        440992662659,
        16922809572,
        118579660060,
        889139606310,
    ],
}


@pytest.mark.parametrize(("length", "key"), GOLDEN)
def test_the_permutation_of_a_key_never_changes(length: int, key: int) -> None:
    assert Permutation(length, key)(np.arange(8, dtype=np.int64) % length).tolist() == GOLDEN[length, key]


# Statistics. Keys are fixed, so a test passes always or never; the bound is the chi-squared quantile of 1 - 1e-6.


def chi_squared(counts: np.ndarray) -> float:
    """How far counts are from equal, in standard deviations of the statistic (normal approximation)."""
    expected = counts.sum() / counts.size
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - (counts.size - 1)) / np.sqrt(2 * (counts.size - 1)))


def keys(count: int) -> list[int]:
    return [int(key) for key in np.random.default_rng(1).integers(0, 2**63, count)]


@pytest.mark.parametrize("length", [3, 4, 5])
def test_all_permutations_of_a_few_elements_are_equally_likely(length: int) -> None:
    all_of_them = {order: number for number, order in enumerate(itertools.permutations(range(length)))}
    seen = [
        all_of_them[tuple(Permutation(length, key)(np.arange(length)).tolist())] for key in keys(200 * len(all_of_them))
    ]
    assert abs(chi_squared(np.bincount(seen, minlength=len(all_of_them)))) < 5


@pytest.mark.parametrize("length", [1000, TABLE_LIMIT, TABLE_LIMIT + 1, 100_003, 10**6, 10**9 + 7, 10**12])
@pytest.mark.parametrize("position", [0, 1, 999])
def test_a_position_goes_anywhere_with_equal_chance(length: int, position: int) -> None:
    images = np.array([int(Permutation(length, key)(np.array([position]))[0]) for key in keys(4000)], dtype=np.float64)
    assert abs(chi_squared(np.histogram(images, bins=50, range=(0, length))[0])) < 5


@pytest.mark.parametrize("length", [50_000, TABLE_LIMIT, 100_003, 2**17, 10**6, 2**20 + 1])
def test_neighbours_come_apart(length: int) -> None:
    differences = np.zeros(64, np.int64)
    for key in keys(8):
        image = Permutation(length, key)(np.arange(length, dtype=np.int64))
        step = (np.diff(image) % length).astype(np.float64)
        differences += np.histogram(step, bins=64, range=(0, length))[0]
    assert abs(chi_squared(differences)) < 5


@pytest.mark.parametrize("length", [1000, TABLE_LIMIT, 100_003, 10**6])
def test_pairs_of_positions_are_ordered_either_way(length: int) -> None:
    image = np.concatenate([Permutation(length, key)(np.arange(1000, dtype=np.int64)) for key in keys(200)]).reshape(
        200, 1000
    )
    rising = int((np.diff(image, axis=1) > 0).sum())
    total = 200 * 999
    assert abs(rising - total / 2) < 5 * np.sqrt(total / 12)


@pytest.mark.parametrize("length", [1000, 100_003, 10**6])
def test_keys_are_independent(length: int) -> None:
    count = min(length, 20_000)
    positions = np.arange(count, dtype=np.int64)
    images = [Permutation(length, key)(positions) for key in range(20)]  # consecutive keys, the worst case
    for first, second in itertools.pairwise(images):
        assert (first == second).mean() < 5 / length + 10 / count
        correlation = np.corrcoef(first, second)[0, 1]
        assert abs(correlation) < 5 / np.sqrt(count)
