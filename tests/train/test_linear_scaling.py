"""The learning rate at each step of the rule, alone, in a chain, and after a resume."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ChainedScheduler, ExponentialLR

from stoker import ArgumentError
from stoker.train import LinearScalingLR


def optimizer(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def rates_of(sgd: torch.optim.SGD, scheduler: object, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()  # type: ignore[attr-defined]
    return rates


def test_it_rises_by_a_constant_amount_to_k_times_the_rate() -> None:
    sgd = optimizer(0.1, 1.0)
    rates = rates_of(sgd, LinearScalingLR(sgd, 2048, 256, warmup_steps=7), 10)
    assert rates == pytest.approx([0.1 + 0.1 * step for step in range(7)] + [0.8] * 3)
    assert sgd.param_groups[1]["lr"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("batch_size", "warmup", "rate"), [(512, 0, 0.2), (128, 0, 0.05), (128, 5, 0.05), (256, 5, 0.1)]
)
def test_without_a_rise(batch_size: int, warmup: int, rate: float) -> None:
    sgd = optimizer(0.1)
    scheduler = LinearScalingLR(sgd, batch_size, 256, warmup_steps=warmup)
    assert rates_of(sgd, scheduler, 7) == pytest.approx([rate] * 7)


def test_in_a_chain_with_a_decay() -> None:
    sgd = optimizer(0.1)
    chain = ChainedScheduler([LinearScalingLR(sgd, 4, 1, warmup_steps=3), ExponentialLR(sgd, 0.5)])
    assert rates_of(sgd, chain, 5) == pytest.approx([0.1, 0.2 / 2, 0.3 / 4, 0.4 / 8, 0.4 / 16])


@pytest.mark.parametrize("stop", range(6))
def test_it_resumes(stop: int) -> None:
    undisturbed, first = optimizer(0.1), optimizer(0.1)
    expected = rates_of(undisturbed, LinearScalingLR(undisturbed, 8, 2, warmup_steps=4), 8)
    scheduler = LinearScalingLR(first, 8, 2, warmup_steps=4)
    begun = rates_of(first, scheduler, stop)
    second = optimizer(0.1)
    resumed = LinearScalingLR(second, 8, 2, warmup_steps=4)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert begun + rates_of(second, resumed, 8 - stop) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sizes", "warmup", "text"),
    [((0, 256), 0, "got batch_size=0, base_batch_size=256"), ((8, 8), -1, "warmup_steps must be at least 0; got -1")],
)
def test_mistakes_are_told(sizes: tuple[int, int], warmup: int, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        LinearScalingLR(optimizer(0.1), *sizes, warmup_steps=warmup)
