"""The linear scaling rule: a learning rate that grows with the batch, after a warm-up."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stoker.errors import ArgumentError


class LinearScalingLR(LRScheduler):
    """Multiplies learning rates by ``batch_size / base_batch_size``, reached after `warmup_steps` steps.

    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017 (arXiv:1706.02677): "when the minibatch
    size is multiplied by k, multiply the learning rate by k", and begin at the unscaled rate, raising it by a constant amount
    at each step. Where k is less than 1 there is nothing to warm up to, and the rate is scaled from the first step on.

    Call ``step()`` after every step of the optimiser. It multiplies what is there, as torch's own `LinearLR` does, so it
    works together with a decay in a `ChainedScheduler`.

    Args:
        optimizer: its learning rates are those for `base_batch_size`.
        batch_size: samples for each step of the optimiser, over all ranks and accumulated micro-batches.
        base_batch_size: the batch size for which the learning rates were found.
        warmup_steps: steps of the optimiser until the scaled rate is reached; 0 begins with it.
        last_epoch: as torch's schedulers have it: the number of the last step when resuming, -1 to begin.

    Raises:
        ArgumentError: a batch size is less than 1, or `warmup_steps` is negative.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        batch_size: int,
        base_batch_size: int,
        *,
        warmup_steps: int = 0,
        last_epoch: int = -1,
    ) -> None:
        if batch_size < 1 or base_batch_size < 1:
            raise ArgumentError(
                f"batch sizes must be at least 1; got batch_size={batch_size}, base_batch_size={base_batch_size}."
            )
        if warmup_steps < 0:
            raise ArgumentError(f"warmup_steps must be at least 0; got {warmup_steps}.")
        self.batch_size = batch_size
        self.base_batch_size = base_batch_size
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at `step`, counted from 0."""
        scale = self.batch_size / self.base_batch_size
        if scale <= 1 or step >= self.warmup_steps:
            return scale
        return 1 + (scale - 1) * step / self.warmup_steps

    def get_lr(self) -> list[float | Tensor]:
        step = self.last_epoch
        change = self.factor(step) / (self.factor(step - 1) if step else 1)
        return [group["lr"] * change for group in self.optimizer.param_groups]
