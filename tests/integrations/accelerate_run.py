"""Accelerate with an AcceleratedLoader: save_state and load_state, its own accumulation."""

from __future__ import annotations

from tests.integrations.phases import (
    BATCH_SIZE,
    EPOCH_END,
    EPOCHS,
    FORKED_WORKER,
    LENGTH,
    MID_EPOCH,
    SECOND_EPOCH,
    Ids,
    Run,
    main,
)

import torch  # isort: skip  # after phases, which makes torchvision importable
from accelerate import Accelerator  # isort: skip
from torch.utils.data import RandomSampler  # isort: skip

from stoker import Loader  # isort: skip
from stoker.integrations.accelerate import AcceleratedLoader  # isort: skip

KILLS = [MID_EPOCH, SECOND_EPOCH, EPOCH_END]
STEPS = -(-LENGTH // BATCH_SIZE)


def train(run: Run) -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    mine = Loader(Ids(), BATCH_SIZE, shuffle=True, seed=7, **FORKED_WORKER)
    model = torch.nn.Linear(1, 1)
    wrapped = AcceleratedLoader(mine)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-6), wrapped)
    assert loader is wrapped
    assert loader.loader is mine
    if run.resumes:
        accelerator.load_state(str(run.folder))
    state = mine.state_dict()
    number, stepped = 0, []
    for epoch in range(state["epoch"], EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            run.note(number, batch)
            number += 1
            with accelerator.accumulate(model):
                accelerator.backward(model(batch["ids"][:, None]).square().mean())
                optimizer.step()
                optimizer.zero_grad()
            stepped.append(accelerator.sync_gradients)
            if number % run.every == 0:
                accelerator.save_state(str(run.folder))
    if not run.resumes:  # the last group of each epoch has three batches
        wanted = [(step + 1) % 4 == 0 or step + 1 == STEPS for step in range(STEPS)] * EPOCHS
        assert stepped == wanted, stepped
        skipping(accelerator)


def skipping(accelerator: Accelerator) -> None:
    """Accelerate's other way to resume gives the loader's own batches too."""
    loader = AcceleratedLoader(Loader(Ids(), BATCH_SIZE, shuffle=True, seed=7, **FORKED_WORKER))
    loader.set_epoch(1)
    rest = [batch["noise"].tolist() for batch in accelerator.skip_first_batches(loader, 4)]
    mine = Loader(Ids(), BATCH_SIZE, shuffle=True, seed=7)
    assert rest == [mine.batch(1, step)["noise"].tolist() for step in range(4, STEPS)]
    loader.set_epoch(1)
    assert [batch["noise"].tolist() for batch in loader][4:] == rest
    plain(accelerator)


def plain(accelerator: Accelerator) -> None:
    """Without our class, ``prepare`` builds a DataLoader of torch's around the loader's sampler: the same order."""
    mine = Loader(Ids(), BATCH_SIZE, shuffle=True, seed=7)
    prepared = accelerator.prepare(mine)
    assert isinstance(prepared.batch_sampler.sampler, RandomSampler)
    for epoch in range(EPOCHS):
        found = [batch["ids"].tolist() for batch in prepared]
        assert found == [mine.batch(epoch, step)["ids"].tolist() for step in range(STEPS)]


if __name__ == "__main__":
    main(train, KILLS)
