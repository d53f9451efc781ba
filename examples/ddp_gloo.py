"""Several processes, and one loader in each: together they see every sample once, in the order that one process would have.

python examples/ddp_gloo.py, or torchrun --nproc-per-node=2 examples/ddp_gloo.py
"""

from __future__ import annotations

import os
import socket

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from stoker import Loader
from stoker.train import accumulate

data = TensorDataset(torch.arange(96.0)[:, None])


def train() -> torch.Tensor:
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    seen = []
    for micro in accumulate(Loader(data, 8, shuffle=True, seed=7), 4, model):  # 8 rows on each rank
        with micro.context():  # gradients are exchanged once per group
            ((model(micro.batch[0]) - 2 * micro.batch[0]).square().mean() * micro.scale).backward()
        if micro.should_step:
            optimizer.step()
            optimizer.zero_grad()
        seen.append(micro.batch[0].flatten())
    return torch.stack(seen)


def main() -> None:
    dist.init_process_group("gloo")
    seen = train()
    everyone = [torch.empty_like(seen) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, seen)
    if dist.get_rank() == 0:
        alone = [batch.flatten() for (batch,) in _on_one_process()]
        assert torch.equal(torch.cat(everyone, 1), torch.stack(alone))
        print(f"{len(everyone)} ranks saw {sum(part.numel() for part in everyone)} samples, in one process's order")
    dist.destroy_process_group()


def _on_one_process() -> list[list[torch.Tensor]]:
    """The same epoch at the same global batch size, with nobody beside it."""
    from stoker.order import ShuffledOrder

    order = ShuffledOrder(len(data), seed=7).indices(0, 0, len(data))
    return [[data.tensors[0][rows]] for rows in torch.from_numpy(order).split(8 * dist.get_world_size())]


def start(rank: int, port: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=str(port))
    main()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.start_processes(start, (port,), nprocs=2, start_method="fork")
