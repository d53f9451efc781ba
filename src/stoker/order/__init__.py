"""Which sample comes when: integer arithmetic, without images, files, or torch (except in `samplers`, which speaks to torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoker.order.blocks import BlockShuffledOrder
from stoker.order.classes import ClassBalancedOrder, PKOrder, StratifiedOrder
from stoker.order.curriculum import CurriculumOrder
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
from stoker.order.lengths import LengthBucketedOrder
from stoker.order.mixture import MixtureOrder
from stoker.order.orders import BaseOrder, Order, SequentialOrder, ShuffledOrder
from stoker.order.permutation import Permutation
from stoker.order.repeat import EndlessOrder, RearrangedOrder, RepeatOrder
from stoker.order.split import Rows, Split
from stoker.order.state import LoaderState
from stoker.order.subset import SubsetOrder
from stoker.order.token_budget import BatchOrder, TokenBudgetOrder
from stoker.order.weighted import WeightedOrder, WeightedWithoutReplacementOrder

if TYPE_CHECKING:
    from stoker.order.samplers import as_sampler

__all__ = [
    "BaseOrder",
    "BatchOrder",
    "BlockShuffledOrder",
    "ClassBalancedOrder",
    "CurriculumOrder",
    "EndlessOrder",
    "KeyedRandom",
    "LengthBucketedOrder",
    "LoaderState",
    "MixtureOrder",
    "Order",
    "PKOrder",
    "Permutation",
    "RearrangedOrder",
    "RepeatOrder",
    "Rows",
    "SequentialOrder",
    "ShuffledOrder",
    "Split",
    "StratifiedOrder",
    "SubsetOrder",
    "TokenBudgetOrder",
    "WeightedOrder",
    "WeightedWithoutReplacementOrder",
    "as_sampler",
    "batch_key",
    "current_key",
    "derive",
    "mix64",
    "mix64_array",
    "sample_key",
    "sample_keys",
    "set_current_key",
]


def __getattr__(name: str) -> Any:
    if name != "as_sampler":
        raise AttributeError(f"module 'stoker.order' has no attribute {name!r}")
    from stoker.order.samplers import as_sampler  # torch comes with it

    return as_sampler
