"""A compiled training step, the batch size that fits, its learning rate, and what batch size is worth having.

python examples/compiled_step.py [backend]
"""

from __future__ import annotations

import sys

import torch
from torch.utils.data import TensorDataset

from stoker import Loader
from stoker.train import LinearScalingLR, accumulate, find_batch_size, gradient_noise_scale

inputs = torch.randn(2048, 16, generator=torch.Generator().manual_seed(0))
data = TensorDataset(inputs, inputs.sum(1, keepdim=True))


def loss_of(model: torch.nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


if __name__ == "__main__":
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    scale = gradient_noise_scale(model, loss_of, Loader(data, 16, shuffle=True, seed=7))
    print(f"noise scale: {scale.noise_scale:.0f} samples; much larger batches would gain little")

    fits = find_batch_size(lambda size: loss_of(model, [inputs[:size], inputs[:size, :1]]).backward(), limit=64)
    model.zero_grad()
    print(f"a batch of {fits} fits")

    compiled = torch.compile(loss_of, backend=sys.argv[1] if len(sys.argv) > 1 else "inductor")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = LinearScalingLR(optimizer, batch_size=4 * fits, base_batch_size=64, warmup_steps=4)
    losses = []
    for micro in accumulate(Loader(data, fits, shuffle=True, seed=7), 4, model):
        loss = compiled(model, micro.batch)
        (loss * micro.scale).backward()
        if micro.should_step:
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    print(f"loss from {losses[0]:.2f} to {losses[-1]:.2f}")
