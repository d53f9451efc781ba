"""A group of micro-batches has the gradient of one large batch, and ranks exchange gradients once per group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from stoker import ArgumentError, Loader
from stoker.train import accumulate


def mean_loss(model: torch.nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    inputs, targets = batch
    return torch.nn.functional.mse_loss(model(inputs), targets)


def linear() -> torch.nn.Linear:
    torch.manual_seed(3)
    return torch.nn.Linear(3, 1).double()


@settings(max_examples=30)
@given(length=st.integers(1, 40), batch_size=st.integers(1, 7), steps=st.integers(1, 5))
def test_a_group_has_the_gradient_of_one_large_batch(length: int, batch_size: int, steps: int) -> None:
    torch.manual_seed(length)
    data = TensorDataset(torch.randn(length, 3).double(), torch.randn(length, 1).double())
    model, whole = linear(), linear()
    large = iter(Loader(data, batch_size * steps, shuffle=False))
    groups = 0
    for micro in accumulate(Loader(data, batch_size, shuffle=False), steps, model):
        with micro.context():
            (mean_loss(model, micro.batch) * micro.scale).backward()
        if micro.should_step:
            mean_loss(whole, next(large)).backward()
            torch.testing.assert_close(model.weight.grad, whole.weight.grad, rtol=1e-10, atol=1e-12)
            model.zero_grad(), whole.zero_grad()
            groups += 1
    assert next(large, None) is None  # the last group was one too
    assert groups == -(-length // (batch_size * steps))


class Synchronised(torch.nn.Linear):
    """Notes, as DistributedDataParallel would act on it, whether gradients are exchanged."""

    silent = 0

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.silent += 1
        yield
        self.silent -= 1


def test_gradients_are_exchanged_with_the_last_of_each_group_alone() -> None:
    model, exchanged = Synchronised(1, 1), []
    for micro in accumulate(torch.arange(7).split(1), 3, model):
        with micro.context():
            exchanged.append(not model.silent)
            assert micro.should_step == exchanged[-1]
    assert exchanged == [False, False, True, False, False, True, True]


def test_a_state_taken_after_a_step_is_that_of_the_group_s_end() -> None:
    data = TensorDataset(torch.arange(20))
    loader, seen, states = Loader(data, 2, shuffle=True, seed=1), [], []
    for micro in accumulate(loader, 4):
        seen += micro.batch[0].tolist()
        if micro.should_step:
            states.append((len(seen), loader.state_dict()))
    assert [count for count, _ in states] == [8, 16, 20]
    assert [state["samples"] for _, state in states] == [8, 16, 20]
    assert loader.state_dict()["epoch"] == 1  # after the loop, and not before its last step
    for count, state in states:
        resumed = Loader(data, 2, shuffle=True)
        resumed.load_state_dict(state)
        rest = [row for micro in accumulate(resumed, 4) for row in micro.batch[0].tolist()]
        assert rest == seen[count:]


def test_another_weight_than_rows() -> None:
    batches = [{"ids": torch.ones(2, 3), "tokens": count} for count in (5, 1, 2)]
    scales = [micro.scale for micro in accumulate(batches, 3, weight=lambda batch: batch["tokens"])]
    assert scales == [5 / 8, 1 / 8, 2 / 8]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([torch.ones(1)], 0), "steps must be at least 1; got 0."),
        ((["text"], 2), "a batch must hold a tensor whose first dimension counts its samples; got str without one."),
        (([torch.ones(0)], 2), r"weights of a group must add up to more than 0; got \[0\]."),
    ],
)
def test_mistakes_are_told(arguments: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        list(accumulate(*arguments))
