"""Accelerate: `AcceleratedLoader` is what prepare keeps; save_state and load_state know the place in the epoch.

python examples/accelerate_loop.py, or accelerate launch examples/accelerate_loop.py
"""

from __future__ import annotations

import tempfile

import torch
from accelerate import Accelerator
from torch.utils.data import TensorDataset

from stoker import Loader
from stoker.integrations.accelerate import AcceleratedLoader


def train(folder: str, stop_at: int | None = None, *, resume: bool = False) -> list[float]:
    accelerator = Accelerator(gradient_accumulation_steps=4)
    model = torch.nn.Linear(1, 1)
    data = TensorDataset(torch.arange(100.0)[:, None])
    loader = AcceleratedLoader(Loader(data, batch_size=8, shuffle=True, seed=7))
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-5), loader)
    if resume:
        accelerator.load_state(folder)
    seen: list[float] = []
    for step, (values,) in enumerate(loader, 1):
        with accelerator.accumulate(model):
            accelerator.backward((model(values) - 2 * values).square().mean())
            optimizer.step()
            optimizer.zero_grad()
        seen += values.flatten().tolist()
        if step == stop_at:
            accelerator.save_state(folder)
            break
    return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        whole = train(folder)
        begun = train(folder, stop_at=4)
        rest = train(folder, resume=True)
    assert begun + rest == whole
    print(f"stopped after {len(begun)} samples and resumed: {len(rest)} more, in the order of an undisturbed epoch")
