"""Which sample comes when: integer arithmetic, without images, files, or torch (except in `samplers`, which speaks to torch)."""

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
from stoker.order.orders import Order, SequentialOrder, ShuffledOrder
from stoker.order.permutation import Permutation
from stoker.order.split import Rows, Split
from stoker.order.state import LoaderState

__all__ = [
    "KeyedRandom",
    "LoaderState",
    "Order",
    "Permutation",
    "Rows",
    "SequentialOrder",
    "ShuffledOrder",
    "Split",
    "batch_key",
    "current_key",
    "derive",
    "mix64",
    "mix64_array",
    "sample_key",
    "sample_keys",
    "set_current_key",
]
