"""Plain torch loops: a compiled step over transforms of torchvision v2 and Albumentations; DistributedDataParallel with gloo."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.integrations.phases import BATCH_SIZE, EPOCHS, FORKED_WORKER, MID_EPOCH, SECOND_EPOCH, Ids, Kill, Run, main

import torch  # isort: skip  # after phases, which makes torchvision importable
import torch.distributed as dist  # isort: skip
from torch.nn.parallel import DistributedDataParallel  # isort: skip

from stoker import Loader  # isort: skip
from stoker.train import accumulate  # isort: skip

KILLS = [MID_EPOCH, SECOND_EPOCH]
DDP_KILLS = [Kill(1, 2, 2), Kill(1, 4, 3)]  # three batches to an epoch: two to a step, and then one


class Transformed(Ids):
    """Its noise comes from both libraries' random transforms, together."""

    def __init__(self) -> None:
        import albumentations
        from torchvision.transforms import v2

        self.crop = v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)])
        self.gauss = albumentations.Compose(
            [albumentations.RandomBrightnessContrast(p=1), albumentations.GaussNoise(p=1)]
        )
        self.image = (torch.arange(3 * 16 * 16).view(3, 16, 16) % 251).to(torch.uint8)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        cropped = self.crop(self.image).permute(1, 2, 0).contiguous().numpy()
        noisy = torch.from_numpy(self.gauss(image=cropped)["image"])
        weights = torch.arange(noisy.numel(), dtype=torch.float32).view_as(noisy)
        return {"ids": torch.tensor(float(index)), "noise": (noisy * weights).mean()}


def loop(run: Run, model: torch.nn.Module, loader: Loader, steps: int, rank: int = 0) -> None:
    """The loop that people write, with a checkpoint file; `model` may be compiled, or distributed."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    path, number, epoch = run.folder / "at.pt", 0, 0
    if run.resumes:
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        loader.load_state_dict(saved["loader"])
        epoch = saved["epoch"]
    for current in range(epoch, EPOCHS):
        for micro in accumulate(loader, steps, model):
            run.note(number, micro.batch, rank)
            number += 1
            with micro.context():
                (model(micro.batch["ids"][:, None]).square().mean() * micro.scale).backward()
            if not micro.should_step:
                continue
            optimizer.step()
            optimizer.zero_grad()
            if number % run.every == 0 and rank == 0:
                save(path, {"model": model.state_dict(), "loader": loader.state_dict(), "epoch": current})


def save(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    torch.save(value, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def train_compiled(run: Run) -> None:
    model = torch.compile(torch.nn.Linear(1, 1))
    loop(run, model, Loader(Transformed(), BATCH_SIZE, shuffle=True, seed=7, **FORKED_WORKER), steps=1)


def train_ddp(run: Run) -> None:
    torch.multiprocessing.start_processes(_rank, (run,), nprocs=2, start_method="fork")


def _rank(rank: int, run: Run) -> None:
    run.folder.mkdir(exist_ok=True)
    meeting = run.folder / f"meeting{run.resumes}"
    dist.init_process_group("gloo", f"file://{meeting}", timedelta(seconds=60), world_size=2, rank=rank)
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    loop(run, model, Loader(Ids(), 7, shuffle=True, seed=7), steps=2, rank=rank)
    with suppress(RuntimeError):  # the other rank may be gone already
        dist.barrier()
    os._exit(0)  # torch 2.13: freeing the model now may join a thread of gloo's that waits for the interpreter's lock


if __name__ == "__main__":
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if "ddp" in sys.argv:
        main(train_ddp, DDP_KILLS)
    else:
        main(train_compiled, KILLS)
