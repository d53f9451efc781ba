"""Hugging Face's Trainer, which resumes from its own checkpoints, with an AcceleratedLoader and accumulation."""

from __future__ import annotations

from typing import Any

from tests.integrations.phases import BATCH_SIZE, EPOCHS, FORKED_WORKER, Ids, Kill, Run, main

import torch  # isort: skip  # after phases, which makes torchvision importable
from transformers import Trainer, TrainingArguments  # isort: skip
from transformers.trainer_utils import get_last_checkpoint  # isort: skip

from stoker import Loader  # isort: skip
from stoker.integrations.accelerate import AcceleratedLoader  # isort: skip

ACCUMULATED = 2  # batches for each step, by which checkpoints are counted; an epoch has five such groups and one of one
KILLS = [Kill(2, 7, 4), Kill(1, 16, 15)]


class Model(torch.nn.Module):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.run = run
        self.seen = 0

    def forward(self, ids: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        self.run.note(self.seen, {"ids": ids, "noise": noise})
        self.seen += 1
        return {"loss": self.layer(ids[:, None]).square().mean()}


class StokerTrainer(Trainer):
    def get_train_dataloader(self) -> Any:
        return AcceleratedLoader(
            Loader(self.train_dataset, BATCH_SIZE, shuffle=True, seed=self.args.seed, **FORKED_WORKER)
        )


def train(run: Run) -> None:
    arguments = TrainingArguments(
        str(run.folder), num_train_epochs=EPOCHS, save_steps=run.every, logging_strategy="no",
        per_device_train_batch_size=BATCH_SIZE, gradient_accumulation_steps=ACCUMULATED, learning_rate=1e-6,
        seed=7, use_cpu=True, disable_tqdm=True, report_to=[], save_only_model=False,
    )  # fmt: skip
    trainer = StokerTrainer(Model(run), arguments, train_dataset=Ids())
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.folder)) if run.resumes else None)


if __name__ == "__main__":
    main(train, KILLS)
