"""Accelerate and Hugging Face's Trainer keep an AcceleratedLoader and its order; killed, they go on where their checkpoint was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import IterableDataset, TensorDataset

from stoker import ArgumentError, Loader
from stoker.integrations.accelerate import AcceleratedLoader
from tests.integrations.compare import QUICK_AND_ALL, assert_goes_on, run_module
from tests.integrations.phases import EPOCH_END, MID_EPOCH, SECOND_EPOCH, Kill

pytestmark = pytest.mark.timeout(300)


@QUICK_AND_ALL
def test_accelerate(tmp_path: Path, quick: list[str]) -> None:
    run_module("tests.integrations.accelerate_run", tmp_path, *quick)
    assert_goes_on(tmp_path, [MID_EPOCH] if quick else [MID_EPOCH, SECOND_EPOCH, EPOCH_END])


@pytest.mark.slow  # transformers alone takes seconds to import
def test_trainer(tmp_path: Path) -> None:
    run_module("tests.integrations.hf_trainer_run", tmp_path)
    assert_goes_on(tmp_path, [Kill(2, 7, 4), Kill(1, 16, 15)])


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(int, 1)


def test_mistakes_are_told() -> None:
    accelerator = Accelerator(cpu=True)
    with pytest.raises(ArgumentError, match="needs a loader with a length; this one has none"):
        AcceleratedLoader(Loader(Endless()))
    loader = AcceleratedLoader(Loader(TensorDataset(torch.arange(8)), 2, shuffle=True))
    with pytest.raises(ArgumentError, match="to skip batches, the loader must have the seed of the run"):
        next(iter(accelerator.skip_first_batches(loader, 1)))
