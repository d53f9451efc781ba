"""Faults on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Container
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset


class KillsWorker(Dataset[Any]):
    """`dataset`, except that the process that loads one of `indices` dies of `signal_number`, the first `times` times for each.

    How often a sample has killed is kept in `folder`, because the process that could count is gone. The loop's own
    process is never killed.
    """

    def __init__(
        self,
        dataset: Any,
        indices: Container[int],
        folder: str | os.PathLike[str],
        *,
        times: int = 1,
        signal_number: int = signal.SIGKILL,
    ) -> None:
        self.dataset = dataset
        self.indices = indices
        self.folder = Path(folder)
        self.times = times
        self.signal_number = signal_number
        self._loop_pid = os.getpid()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if index in self.indices and os.getpid() != self._loop_pid and self._claim_kill(index):
            os.kill(os.getpid(), self.signal_number)
        return self.dataset[index]

    def _claim_kill(self, index: int) -> bool:
        for kill in range(self.times):
            try:
                (self.folder / f"{index}-{kill}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False
