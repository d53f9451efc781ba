"""Lightning's Trainer, with its own ModelCheckpoint, over a plain Loader; with "ddp" in two processes."""

from __future__ import annotations

import sys
from typing import Any

from tests.integrations.phases import (
    BATCH_SIZE,
    EPOCH_END,
    EPOCHS,
    FORKED_WORKER,
    MID_EPOCH,
    SECOND_EPOCH,
    Ids,
    Kill,
    Run,
    main,
)

import lightning  # isort: skip  # after phases, which makes torchvision importable
import torch  # isort: skip
from lightning.pytorch.callbacks import ModelCheckpoint  # isort: skip

from stoker import Loader  # isort: skip

KILLS = [MID_EPOCH, SECOND_EPOCH, EPOCH_END]
DDP_KILLS = [Kill(2, 3, 2), Kill(3, 4, 3)]


class Model(lightning.LightningModule):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.run = run
        self.seen = 0

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        self.run.note(self.seen, batch, self.global_rank)
        self.seen += 1
        return self.layer(batch["ids"][:, None]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def train(run: Run, batch_size: int = BATCH_SIZE, **arguments: Any) -> None:
    checkpoint = ModelCheckpoint(run.folder, filename="at", every_n_train_steps=run.every, enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", callbacks=[checkpoint], logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    loader = Loader(Ids(), batch_size, shuffle=True, seed=7, **FORKED_WORKER)  # before there is a process group
    trainer.fit(Model(run), loader, ckpt_path=str(run.folder / "at.ckpt") if run.resumes else None, weights_only=False)


def train_ddp(run: Run) -> None:
    train(run, 7, strategy="ddp_fork", devices=2)


if __name__ == "__main__":
    if "ddp" in sys.argv:
        main(train_ddp, DDP_KILLS)
    else:
        main(train, KILLS)
