"""Mixup and CutMix: each image of a batch together with another one, and labels to match."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch.nn import functional

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.ops import probability_of
from stoker.order.keys import KeyedRandom, derive


class MixOp(Protocol):
    """An operation on the images and labels of a batch, whose parameters are drawn under the batch's key, on the CPU."""

    def apply_mix(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [n, channels, height, width] and float32 labels [n, num_classes]; labels come as int64 [n], or as those already."""


class Mixup:
    """Each image blended with the one before it in the batch, the first with the last (Zhang et al., mixup, 2017).

    The share of each image itself is one draw from Beta(alpha, alpha) for a batch; nothing is mixed with probability
    ``1 - p``, but labels become soft in any case. uint8 images are rounded.
    """

    def __init__(self, alpha: float = 1.0, p: float = 1.0) -> None:
        self.alpha, self.p = _positive(alpha), probability_of(p)

    def apply_mix(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        random, targets = KeyedRandom(key), soft_targets(labels, num_classes)
        if random.uniform() >= self.p:
            return images, targets
        share = beta(random, self.alpha)
        values = images if images.is_floating_point() else images.to(torch.float32)
        mixed = values * share + values.roll(1, 0) * (1 - share)
        if not images.is_floating_point():
            mixed = mixed.round_().to(images.dtype)
        return mixed, _mixed(targets, share)

    def __repr__(self) -> str:
        return f"Mixup(alpha={self.alpha:g}, p={self.p:g})"


class CutMix:
    """In each image a rectangle of the one before it in the batch (Yun et al., CutMix, 2019).

    The rectangle is the same for all images of a batch: its area's share is 1 minus a draw from Beta(alpha, alpha), its
    middle anywhere, cut off at the edge. Labels are mixed by the pixels that are really there. With probability ``1 - p``
    only the labels become soft.
    """

    def __init__(self, alpha: float = 1.0, p: float = 1.0) -> None:
        self.alpha, self.p = _positive(alpha), probability_of(p)

    def apply_mix(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        random, targets = KeyedRandom(key), soft_targets(labels, num_classes)
        if random.uniform() >= self.p:
            return images, targets
        height, width = images.shape[-2:]
        half = 0.5 * math.sqrt(1 - beta(random, self.alpha))
        x, y = random.integers(0, width), random.integers(0, height)
        left, right = max(0, int(x - half * width)), min(width, int(x + half * width))
        top, bottom = max(0, int(y - half * height)), min(height, int(y + half * height))
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
        return mixed, _mixed(targets, 1 - (bottom - top) * (right - left) / (height * width))

    def __repr__(self) -> str:
        return f"CutMix(alpha={self.alpha:g}, p={self.p:g})"


class RandomChoice:
    """One of several mixing operations for each batch, all equally likely: ``RandomChoice(Mixup(0.2), CutMix(1.0))``."""

    def __init__(self, *ops: MixOp) -> None:
        if not ops or not all(hasattr(op, "apply_mix") for op in ops):
            raise ArgumentError(
                f"RandomChoice takes one or more of Mixup and CutMix; got {', '.join(map(repr, ops)) or 'none'}."
            )
        self.ops = ops

    def apply_mix(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int, key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        number = KeyedRandom(key).integers(0, len(self.ops))
        return self.ops[number].apply_mix(images, labels, num_classes, derive(key, number))

    def __repr__(self) -> str:
        return f"RandomChoice({', '.join(map(repr, self.ops))})"


def soft_targets(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Float32 [n, num_classes] of int64 labels [n]; labels that are soft already as they are.

    Raises:
        TypeMismatchError: labels are neither.
    """
    if labels.ndim == 2 and labels.is_floating_point() and labels.shape[1] == num_classes:
        return labels
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise TypeMismatchError(
            f"labels must be whole numbers [n], or shares of classes [n, {num_classes}]; "
            f"got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    return functional.one_hot(labels.to(torch.int64), num_classes).to(torch.float32)


def beta(random: KeyedRandom, alpha: float) -> float:
    """A draw from Beta(alpha, alpha): the share of one of two gamma variates in their sum, by logarithms, so that small alphas work."""
    difference = _log_gamma_variate(random, alpha) - _log_gamma_variate(random, alpha)
    return 1 / (1 + math.exp(-difference)) if difference > -700 else 0.0


def _log_gamma_variate(random: KeyedRandom, shape: float) -> float:
    """Marsaglia and Tsang, A simple method for generating gamma variables, 2000."""
    boost = 0.0
    if shape < 1:
        boost, shape = math.log(1 - random.uniform()) / shape, shape + 1
    d = shape - 1 / 3
    while True:
        x = random.normal()
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * math.log(v):
            return math.log(d * v) + boost


def _mixed(targets: torch.Tensor, share: float) -> torch.Tensor:
    return targets * share + targets.roll(1, 0) * (1 - share)


def _positive(alpha: float) -> float:
    if not 0 < alpha < math.inf:
        raise ArgumentError(f"alpha must be positive; got {alpha!r}.")
    return float(alpha)
