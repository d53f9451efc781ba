"""The noise scale of a problem for which it is known, and what the measurement leaves as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from stoker import ArgumentError, Loader
from stoker.train import gradient_noise_scale


class Point(torch.nn.Module):
    """Loss ½|w − x|² of a sample x: its gradient is w − x, so G = w − mean(x) and Σ = cov(x)."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.at = torch.nn.Parameter(at)
        self.unused = torch.nn.Parameter(torch.zeros(5))

    def forward(self, samples: Tensor) -> Tensor:
        return (self.at - samples).square().sum(1).mean() / 2


def loss_of(model: torch.nn.Module, batch: list[Tensor]) -> Tensor:
    return model(batch[0])


def cloud(rows: int, spread: float) -> Tensor:
    return torch.randn(rows, 20, generator=torch.Generator().manual_seed(1)) * spread


@pytest.mark.parametrize(("distance", "spread", "batch_size"), [(1.0, 1.0, 16), (0.3, 0.5, 16), (1.0, 1.0, 4)])
def test_it_is_the_known_one(distance: float, spread: float, batch_size: int) -> None:
    samples = cloud(6_000, spread)
    model = Point(samples.mean(0) + distance / math.sqrt(20))
    trace = samples.var(0, unbiased=False).sum().item()
    loader = Loader(TensorDataset(samples), batch_size, shuffle=True, seed=2)
    measured = gradient_noise_scale(model, loss_of, loader, big=8, groups=6_000)
    assert measured.num_samples == 6_000 // (8 * batch_size) * 8 * batch_size
    assert measured.trace == pytest.approx(trace, rel=0.02)
    assert measured.gradient_norm_squared == pytest.approx(distance**2, rel=0.1)
    assert measured.noise_scale == pytest.approx(trace / distance**2, rel=0.1)


def test_a_gradient_without_noise_has_a_scale_of_0() -> None:
    measured = gradient_noise_scale(Point(torch.ones(2)), loss_of, [[torch.zeros(4, 2)]] * 4, big=2, groups=2)
    assert (measured.noise_scale, measured.gradient_norm_squared, measured.num_samples) == (0, 2, 16)


def test_a_gradient_lost_in_noise_has_an_infinite_one() -> None:
    batches = [[torch.tensor([[1.0]])], [torch.tensor([[-1.0]])]]
    measured = gradient_noise_scale(Point(torch.zeros(1)), loss_of, batches, big=2, groups=1)
    assert (measured.noise_scale, measured.trace) == (math.inf, 2.0)


def test_the_model_is_as_before() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(20, 4), torch.nn.BatchNorm1d(4))
    model[0].weight.grad = torch.full((4, 20), 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loader = Loader(TensorDataset(cloud(40, 1.0)), 4)
    gradient_noise_scale(model, lambda model, batch: model(batch[0]).square().mean(), loader, big=2, groups=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.full((4, 20), 7.0))
    assert model[0].bias.grad is None


def test_it_reads_no_more_than_it_needs_and_leaves_out_short_batches() -> None:
    sizes = iter([4, 4, 3, 4, 4])
    batches = ([cloud(size, 1.0)] for size in sizes)
    measured = gradient_noise_scale(Point(torch.zeros(20)), loss_of, batches, big=2, groups=2)
    assert measured.num_samples == 16
    batches = iter([[cloud(4, 1.0)]] * 6)
    gradient_noise_scale(Point(torch.zeros(20)), loss_of, batches, big=2, groups=2)
    assert len(list(batches)) == 2


@pytest.mark.parametrize(
    ("big", "groups", "text"),
    [(1, 1, "big must be at least 2"), (2, 0, "got big=2, groups=0"), (4, 1, "at least big=4 batches of one size")],
)
def test_mistakes_are_told(big: int, groups: int, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        gradient_noise_scale(Point(torch.zeros(2)), loss_of, [[torch.ones(4, 2)]] * 3, big=big, groups=groups)
