"""One order of every kind over a dataset of 48 samples, alone and over every other: what the tests of composition run through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stoker.order import (
    BlockShuffledOrder,
    ClassBalancedOrder,
    CurriculumOrder,
    EndlessOrder,
    LengthBucketedOrder,
    MixtureOrder,
    Order,
    PKOrder,
    RearrangedOrder,
    RepeatOrder,
    SequentialOrder,
    ShuffledOrder,
    StratifiedOrder,
    SubsetOrder,
    TokenBudgetOrder,
    WeightedOrder,
    WeightedWithoutReplacementOrder,
)

NUM_SAMPLES = 48
BATCH = 8  # over all ranks
LABELS = np.arange(NUM_SAMPLES) % 3 * (np.arange(NUM_SAMPLES) % 5 < 4)
WEIGHTS = 1.0 + np.arange(NUM_SAMPLES) % 7
LENGTHS = 3 + np.arange(NUM_SAMPLES) * 7 % 19

Make = Callable[[], Order]


def by_difficulty(epoch: int, indices: np.ndarray) -> np.ndarray:
    return (LENGTHS[indices] + epoch) // 6


def sources(seed: int) -> dict[str, Make]:
    """Orders of the dataset alone."""
    return {
        "sequential": lambda: SequentialOrder(NUM_SAMPLES),
        "shuffled": lambda: ShuffledOrder(NUM_SAMPLES, seed),
        "subset": lambda: SubsetOrder(np.arange(3, 43)),
        **{name: lambda outer=outer: outer(SequentialOrder(NUM_SAMPLES)) for name, outer in outers(seed).items()},
        "mixture": lambda: MixtureOrder([8, 40], seed=seed, temperature=3.0, length=44),
    }


def outers(seed: int) -> dict[str, Callable[[Order], Order]]:
    """Orders over another order, which may have 36 positions or more."""
    return {
        "subset": lambda over: SubsetOrder(np.arange(len(over) - 1, 0, -1), over=over),
        "rearranged": lambda over: RearrangedOrder(ShuffledOrder(len(over), seed), over=over),
        "weighted": lambda over: WeightedOrder(WEIGHTS, seed=seed, over=over),
        "without": lambda over: WeightedWithoutReplacementOrder(WEIGHTS, seed=seed, over=over, length=30),
        "balanced": lambda over: ClassBalancedOrder(LABELS, seed=seed, over=over),
        "stratified": lambda over: StratifiedOrder(LABELS, BATCH, seed=seed, over=over),
        "pk": lambda over: PKOrder(LABELS, 2, 4, seed=seed, over=over, num_batches=4),
        "blocks": lambda over: BlockShuffledOrder(over, seed, block_rows=5, window_rows=15),
        "bucketed": lambda over: LengthBucketedOrder(over, LENGTHS, BATCH, seed=seed, window_batches=3),
        "budget": lambda over: TokenBudgetOrder(over, LENGTHS, 90, seed=seed, micro_batches=4, window=20),
        "mixture": lambda over: MixtureOrder([over, 9], seed=seed, weights=[2, 1], sizes=[NUM_SAMPLES, 9], length=40),
        "repeat": lambda over: RepeatOrder(over, 2),
        "endless": lambda over: EndlessOrder(over, 37),
        "curriculum": lambda over: CurriculumOrder(over, by_difficulty),
    }


def every_order(seed: int = 5) -> dict[str, Make]:
    """Every order, and every composition of two."""
    inner = sources(seed)
    pairs: dict[str, Make] = {
        f"{outer} over {name}": lambda compose=compose, make=make: compose(make())
        for outer, compose in outers(seed + 1).items()
        for name, make in inner.items()
    }
    return {**inner, **pairs}
