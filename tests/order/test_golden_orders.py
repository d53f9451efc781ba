"""Literal output of every order: a later version that ordered otherwise would break every saved state."""

from __future__ import annotations

import pytest

from tests.order.a_set_of_orders import every_order

GOLDEN: dict[str, list[int]] = {
    "sequential": [36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47],
    "shuffled": [1, 43, 5, 33, 28, 27, 4, 30, 25, 9, 23, 6],
    "subset": [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    "rearranged": [1, 43, 5, 33, 28, 27, 4, 30, 25, 9, 23, 6],
    "weighted": [13, 41, 13, 9, 44, 17, 24, 17, 22, 39, 40, 23],
    "without": [24, 11, 22, 12, 19, 7, 37, 36, 13, 20, 32, 9],
    "balanced": [9, 43, 47, 20, 18, 31, 25, 47, 15, 4, 28, 38],
    "stratified": [15, 4, 39, 45, 6, 37, 11, 0, 21, 34, 43, 47],
    "pk": [14, 42, 44, 33, 5, 26, 32, 11, 9, 18, 15, 4],
    "blocks": [17, 1, 6, 19, 8, 4, 18, 24, 23, 21, 22, 20],
    "bucketed": [25, 44, 36, 28, 47, 39, 31, 42, 34, 26, 45, 37],
    "budget": [19, 11, 3, 29, 21, 32, 24, 41, 44, 47, 42, 45],
    "mixture": [9, 46, 32, 0, 15, 31, 26, 37, 14, 1, 5, 40],
    "repeat": [36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47],
    "endless": [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    "curriculum": [10, 13, 16, 21, 24, 27, 29, 32, 35, 40, 43, 46],
    "weighted over subset": [37, 46, 18, 47, 34, 37, 5, 22, 33, 6, 12, 31],
    "balanced over repeat": [12, 20, 46, 11, 4, 1, 2, 0, 13, 8, 10, 21],
    "budget over shuffled": [46, 30, 25, 6, 28, 9, 4, 23, 3, 17, 36, 47],
    "bucketed over shuffled": [33, 25, 6, 28, 32, 24, 43, 5, 35, 8, 46, 27],
    "mixture over weighted": [26, 6, 25, 32, 52, 56, 33, 34, 34, 54, 53, 39],
    "endless over shuffled": [45, 7, 34, 10, 19, 38, 0, 41, 17, 47, 36, 18],
    "curriculum over shuffled": [2, 16, 21, 35, 8, 46, 13, 24, 32, 43, 5, 27],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_an_order_never_changes(name: str) -> None:
    order = every_order(seed=7)[name]()
    assert order.indices(2, 0, len(order))[-12:].tolist() == GOLDEN[name]


def test_every_kind_is_pinned() -> None:
    assert set(GOLDEN) >= {name for name in every_order() if " over " not in name}
