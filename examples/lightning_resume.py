"""Lightning's Trainer over a stoker.Loader: nothing to add. A checkpoint within an epoch goes on at the very next batch.

python examples/lightning_resume.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import TensorDataset

from stoker import Loader


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[float] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.seen += batch[0].flatten().tolist()
        return (self.layer(batch[0]) - 2 * batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-5)


def fit(folder: str, ckpt_path: Path | None = None, **limits: Any) -> list[float]:
    model = Regression()
    checkpoint = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=5, save_top_k=-1)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, callbacks=[checkpoint], **limits
    )
    data = TensorDataset(torch.arange(100.0)[:, None])
    trainer.fit(model, Loader(data, batch_size=8, shuffle=True, seed=7), ckpt_path=ckpt_path, weights_only=False)
    return model.seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        whole = fit(folder, max_epochs=2)
        resumed = fit(folder, Path(folder) / "step=5.ckpt", max_epochs=2)
    assert resumed == whole[5 * 8 :]
    print(f"resumed after 40 of {len(whole)} samples: the other {len(resumed)} came in the same order")
