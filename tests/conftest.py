"""Fixtures for all rooms."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from torchvision_shim import import_torchvision

from tests.leaks import Holdings, settle

hypothesis.settings.register_profile("stoker", deadline=None)  # timings never decide a test
hypothesis.settings.load_profile("stoker")

PROJECT_ROOT = Path(__file__).resolve().parents[1]
PHOTOS = PROJECT_ROOT.parent / "shared" / "photos"

with suppress(ImportError):  # tests that compare with it say pytest.importorskip("torchvision")
    import_torchvision()  # before any test imports it: then that import finds it loaded


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_cuda") is None or torch.cuda.is_available():
        return
    if os.environ.get("FAIL_WITHOUT_CUDA"):
        pytest.fail("this test needs a CUDA device, there is none, and FAIL_WITHOUT_CUDA is set", pytrace=False)
    pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _random_state_stays() -> Iterator[None]:
    """Keeps what a test draws or seeds from the next one."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch_state)


@pytest.fixture(scope="session")
def photos() -> Path:
    """A folder of 700 real photographs in ten class folders that stands beside the project; skips where it does not."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no photographs at {PHOTOS}")
    return PHOTOS


@pytest.fixture
def no_leaks() -> Iterator[Holdings]:
    """Fails the test when it leaves child processes, descriptors or names in /dev/shm that were not there before.

    The process that workers are forked from serves all loaders of this process and is there to stay, so it is started
    first and belongs to the baseline.
    """
    from stoker.engine.processes.launch import root_zygote

    root_zygote()
    baseline = Holdings.now()
    yield baseline
    leaks = settle(baseline)
    assert not leaks, "left behind:\n" + "\n".join(leaks)
