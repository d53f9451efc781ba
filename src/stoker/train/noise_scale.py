"""The gradient noise scale: what batch size is worth having."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from stoker.errors import ArgumentError
from stoker.train.rows import count_rows


@dataclass(frozen=True)
class NoiseScale:
    """What was measured.

    Attributes:
        noise_scale: samples; tr(Σ) / |G|². Much smaller batches waste steps, much larger ones waste samples. Infinite where
            the estimate of |G|² is not positive: the gradient is lost in the noise, and more groups are needed.
        gradient_norm_squared: |G|², of the true gradient, without bias.
        trace: tr(Σ), the variance of a single sample's gradient, summed over all parameters, without bias.
        num_samples: how many samples it rests on.
    """

    noise_scale: float
    gradient_norm_squared: float
    trace: float
    num_samples: int


def gradient_noise_scale(
    model: torch.nn.Module,
    loss_fn: Callable[[torch.nn.Module, Any], Tensor],
    loader: Iterable[Any],
    *,
    big: int = 8,
    groups: int = 16,
) -> NoiseScale:
    """Measures the simple noise scale of `model` where it stands now, on batches of `loader`.

    McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training", 2018 (arXiv:1812.06162), equations 2.9
    and A.1 to A.4: gradients are measured at two batch sizes, that of the loader's batches and that of `big` of them
    together, and the difference of their norms tells noise from gradient. Both estimates are averaged over `groups` groups
    before they are divided. It changes during training, so measure it at several stages.

    The model's parameters, their ``grad`` and its buffers are as before afterwards; whether it is in training mode is the
    caller's choice. Deterministic where the loader, the model and `loss_fn` are.

    Args:
        model: the parameters that require a gradient are measured.
        loss_fn: ``loss_fn(model, batch)`` is the mean loss of a batch, a scalar.
        loader: shuffled batches of one size; a batch of another size (an epoch's last) is left out. Read once, up to
            ``big * groups`` batches.
        big: batches whose gradients together are the large batch; at least 2.
        groups: how many such large batches to measure at most; at least 1.

    Raises:
        ArgumentError: `big` or `groups` is too small, or the loader has fewer than `big` batches of one size.
    """
    if big < 2 or groups < 1:
        raise ArgumentError(f"big must be at least 2, and groups at least 1; got big={big}, groups={groups}.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with _buffers_kept(model):
        measured = [
            (rows, *_squared_norms(model, loss_fn, group, parameters))
            for rows, group in islice(_groups_of_equal_batches(loader, big), groups)
        ]
    if not measured:
        raise ArgumentError(f"the loader must have at least big={big} batches of one size; it ended before.")
    rows, small, large = (sum(column) / len(measured) for column in zip(*measured, strict=True))
    return _estimate(small, large, int(rows), big, len(measured))


def _estimate(small: float, large: float, rows: int, big: int, groups: int) -> NoiseScale:
    """From the mean squared norms of gradients of `rows` and of ``big * rows`` samples (equations A.2 and A.3)."""
    squared = (big * large - small) / (big - 1)
    trace = (small - large) / (1 / rows - 1 / (big * rows))
    return NoiseScale(trace / squared if squared > 0 else math.inf, squared, trace, rows * big * groups)


def _groups_of_equal_batches(loader: Iterable[Any], size: int) -> Iterator[tuple[int, list[Any]]]:
    """(rows, `size` batches of so many rows each), as long as there are as many."""
    pending: list[Any] = []
    expected: int | None = None
    for batch in loader:
        rows = count_rows(batch)
        expected = rows if expected is None else expected
        if rows == expected:
            pending.append(batch)
        if len(pending) == size:
            yield rows, pending
            pending = []


def _squared_norms(
    model: torch.nn.Module,
    loss_fn: Callable[[torch.nn.Module, Any], Tensor],
    batches: Iterable[Any],
    parameters: Sequence[Tensor],
) -> tuple[float, float]:
    """The mean squared norm of the batches' gradients, and the squared norm of their mean gradient; float64 sums."""
    norms: list[Tensor] = []
    total: list[Tensor] = [torch.zeros_like(parameter) for parameter in parameters]
    for batch in batches:
        gradients = torch.autograd.grad(loss_fn(model, batch), parameters, materialize_grads=True)
        norms.append(_squared_norm(gradients))
        for sum_, gradient in zip(total, gradients, strict=True):
            sum_ += gradient
    return float(torch.stack(norms).mean()), float(_squared_norm(total)) / len(norms) ** 2


def _squared_norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.double().square().sum() for tensor in tensors]).sum()


@contextmanager
def _buffers_kept(model: torch.nn.Module) -> Iterator[None]:
    """Running statistics, as batch normalisation has them, are put back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
