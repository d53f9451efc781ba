"""What the orders promise of chance: a million draws each against a chi-squared test, and the exact arithmetic behind them.

Seeds are fixed, so a test passes always or never.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.order import (
    ClassBalancedOrder,
    EndlessOrder,
    MixtureOrder,
    Order,
    PKOrder,
    ShuffledOrder,
    StratifiedOrder,
    WeightedOrder,
    WeightedWithoutReplacementOrder,
)
from stoker.order.alias import AliasTable, integer_weights

MILLION = 10**6


def deviation(counts: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """How far the chi-squared statistic is from its mean, in standard deviations (normal approximation)."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = len(expected) - 1
    return (statistic - freedom) / np.sqrt(2 * freedom)


def counted(order: Order, classes: np.ndarray[Any, Any], epoch: int = 0) -> np.ndarray[Any, Any]:
    return np.bincount(classes[order.indices(epoch, 0, len(order))], minlength=int(classes.max()) + 1)


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_weighted_draws_have_their_weights(spread: float) -> None:
    weights = np.exp(spread * np.random.default_rng(1).normal(size=200))
    order = WeightedOrder(weights, seed=3, length=MILLION)
    expected = weights / weights.sum() * MILLION
    assert abs(deviation(counted(order, np.arange(200)), expected)) < 4
    again = order.indices(1, 0, MILLION)
    assert abs(deviation(np.bincount(again, minlength=200), expected)) < 4
    pairs = np.bincount(again[:-1] % 10 * 10 + again[1:] % 10, minlength=100)  # neighbours are independent
    shares = np.bincount(np.arange(200) % 10, weights=weights / weights.sum())
    assert abs(deviation(pairs, np.outer(shares, shares).ravel() * (MILLION - 1))) < 4


def test_draws_without_replacement_are_successive_draws_among_what_is_left() -> None:
    weights = np.array([1.0, 2.0, 3.0, 0.0, 4.0])
    firsts, seconds = np.zeros(5), np.zeros(5)
    order = WeightedWithoutReplacementOrder(weights, seed=5, length=2)
    for epoch in range(4_000):
        first, second = order.indices(epoch, 0, 2).tolist()
        firsts[first] += 1
        seconds[second] += 1
    share = weights / 10
    second_share = [sum(share[a] * weights[b] / (10 - weights[a]) for a in range(5) if a != b) for b in range(5)]
    drawn = weights > 0
    assert abs(deviation(firsts[drawn], share[drawn] * 4_000)) < 4
    assert abs(deviation(seconds[drawn], np.array(second_share)[drawn] * 4_000)) < 4
    assert firsts[3] == seconds[3] == 0


def test_draws_without_replacement_differ_and_begin_with_the_heavy_ones() -> None:
    weights = 1.0 + np.arange(100_010) % 5
    drawn = WeightedWithoutReplacementOrder(weights, seed=1, length=100_000).indices(0, 0, 100_000)
    assert len(np.unique(drawn)) == 100_000
    tenth = np.bincount(drawn[:10_000] % 5, minlength=5)
    assert (np.diff(tenth) > 500).all()


def test_classes_are_balanced_and_a_class_s_samples_too() -> None:
    labels = np.repeat(np.arange(4), [9000, 900, 90, 10])
    order = ClassBalancedOrder(labels, seed=2, length=MILLION)
    samples = order.indices(0, 0, MILLION)
    assert np.bincount(labels[samples]).tolist() == [MILLION // 4] * 4
    for label in range(4):
        times = np.bincount(samples, minlength=10_000)[labels == label]
        assert times.max() - times.min() <= 1
    assert order.expected_counts() == dict.fromkeys("0123", MILLION / 4)
    positions = np.flatnonzero(labels[samples] == 3)
    assert abs(deviation(np.bincount(positions % 4, minlength=4), np.full(4, MILLION / 16))) < 4


def test_stratified_batches_hold_every_class_and_the_right_number_of_each() -> None:
    labels = np.random.default_rng(4).permutation(np.repeat(np.arange(5), [5210, 3020, 1500, 260, 10]))
    order = StratifiedOrder(labels, 20, seed=2, num_batches=MILLION // 20)
    in_batches = labels[order.indices(0, 0, MILLION)].reshape(-1, 20)
    per_batch = np.stack([(in_batches == label).sum(axis=1) for label in range(5)])
    assert per_batch.min() == 1
    expected = np.array(list(order.expected_counts().values()))
    assert expected.sum() == pytest.approx(MILLION)
    assert expected[3] == expected[4] == MILLION / 20, "two are lifted to one in each batch"
    assert expected[0] / expected[1] == pytest.approx(5210 / 3020)
    assert (per_batch.max(axis=1) - per_batch.min(axis=1) <= 1).all()
    assert deviation(per_batch.sum(axis=1), expected) < 4
    assert abs(deviation(np.bincount(np.nonzero(in_batches == 4)[1], minlength=20), np.full(20, MILLION / 400))) < 4


def test_p_classes_and_k_samples() -> None:
    labels = np.repeat(np.arange(7), [3, 40, 8, 9, 10, 11, 2])
    order = PKOrder(labels, 3, 4, seed=1, num_batches=2000)
    for batch in order.indices(0, 0, 24_000).reshape(-1, 3, 4)[:500]:
        rows = labels[batch]
        assert (rows == rows[:, :1]).all()
        assert len(set(rows[:, 0].tolist())) == 3
        for samples in batch:
            assert len(set(samples.tolist())) == min(4, int((labels == labels[samples[0]]).sum()))
    visits = counted(order, labels) / 4
    assert visits.max() - visits.min() < 100, "classes take turns"


@pytest.mark.parametrize("temperature", [1.0, 2.0, None])
def test_mixtures_have_their_shares(temperature: float | None) -> None:
    sizes = [700_000, 50_000, 3_000]
    weights = None if temperature else [0.5, 0.3, 0.2]
    shares = np.array(weights or [size ** (1 / (temperature or 1)) for size in sizes])
    order = MixtureOrder(sizes, seed=1, weights=weights, temperature=temperature, length=MILLION)
    datasets = np.repeat(np.arange(3), sizes)
    counts = counted(order, datasets)
    assert deviation(counts, shares / shares.sum() * MILLION) < 4
    assert deviation(counts, np.array(list(order.expected_counts().values()))) < 4
    few = np.bincount(datasets[order.indices(3, 500, 20_500)], minlength=3)  # inside a block it is chance
    assert abs(deviation(few, shares / shares.sum() * 20_000)) < 4


def test_a_mixture_s_datasets_have_epochs_of_their_own() -> None:
    order = MixtureOrder([100, 3000], seed=1, weights=[1, 1], length=500)
    stream = np.concatenate([order.indices(epoch, 0, 500) for epoch in range(12)])
    small, large = stream[stream < 100], stream[stream >= 100]
    passes = small[: len(small) // 100 * 100].reshape(-1, 100)
    assert (np.sort(passes, axis=1) == np.arange(100)).all(), "all of it once, before any comes again"
    assert len({tuple(one) for one in passes.tolist()}) == len(passes), "in another order each time"
    assert len(np.unique(large[:3000])) == min(3000, len(large))


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-300, 1e300), st.integers(1, 5).map(float)), min_size=1, max_size=60)
)
def test_an_alias_table_holds_its_integer_weights_exactly(weights: list[float]) -> None:
    array = np.array(weights)
    if not array.any():
        array[0] = 1
    units = integer_weights(array, len(array) << 32)
    assert int(units.sum()) == len(array) << 32
    assert (units[array == 0] == 0).all()
    assert (units >= 0).all()
    assert np.allclose(AliasTable(array).probabilities(), units / (len(array) << 32), rtol=0, atol=1e-15)
    scaled = array / array.max()
    assert np.allclose(units / (len(array) << 32), scaled / scaled.sum(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [
    lambda n: ShuffledOrder(n, 1),
    pytest.param(lambda n: WeightedOrder(np.ones(n, np.float32), seed=1), marks=pytest.mark.slow),  # 3 s for its table
    lambda n: EndlessOrder(ShuffledOrder(n, 1), n // 3),
    lambda n: MixtureOrder([n - 5, 5], seed=1, weights=[0.999, 0.001]),
])  # fmt: skip
def test_more_than_2_to_the_24_samples(make: Any) -> None:
    # torch.multinomial refuses more; a float32 position cannot be told from the next one there.
    length = 2**24 + 4096
    order = make(length)
    drawn = np.concatenate([order.indices(epoch, len(order) - 4000, len(order)) for epoch in range(5)])
    beyond = (drawn >= 2**24).mean()
    assert 0 <= drawn.min() <= drawn.max() < length
    assert beyond < 0.01
    assert abs(deviation(np.histogram(drawn, bins=10, range=(0, length))[0], np.full(10, len(drawn) / 10))) < 4
