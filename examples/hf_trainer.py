"""Hugging Face's Trainer: override `get_train_dataloader`, and resume_from_checkpoint goes on with the loader's own batches.

python examples/hf_trainer.py
"""

from __future__ import annotations

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from stoker import Loader
from stoker.integrations.accelerate import AcceleratedLoader


class Numbers(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"values": torch.tensor([float(index)])}


class Regression(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[float] = []

    def forward(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += values.flatten().tolist()
        return {"loss": (self.layer(values) - 2 * values).square().mean()}


class StokerTrainer(Trainer):
    def get_train_dataloader(self) -> AcceleratedLoader:
        loader = Loader(self.train_dataset, self.args.per_device_train_batch_size, shuffle=True, seed=self.args.seed)
        return AcceleratedLoader(loader)


def train(folder: str, checkpoint: str | None = None) -> list[float]:
    arguments = TrainingArguments(
        folder, num_train_epochs=2, per_device_train_batch_size=8, save_steps=5, learning_rate=1e-5, use_cpu=True,
        report_to=[], disable_tqdm=True,
    )  # fmt: skip
    model = Regression()
    StokerTrainer(model, arguments, train_dataset=Numbers()).train(resume_from_checkpoint=checkpoint)
    return model.seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        whole = train(folder)
        resumed = train(folder, f"{folder}/checkpoint-5")
    assert resumed == whole[5 * 8 :]
    print(f"resumed after 40 of {len(whole)} samples: the other {len(resumed)} came in the same order")
