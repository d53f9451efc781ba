"""Lightning's Trainer over a plain Loader: killed within an epoch and at its end, it goes on where its checkpoint was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.compare import QUICK_AND_ALL, assert_goes_on, run_module
from tests.integrations.phases import EPOCH_END, MID_EPOCH, SECOND_EPOCH, Kill

pytestmark = pytest.mark.timeout(300)


@QUICK_AND_ALL
def test_a_killed_run_goes_on(tmp_path: Path, quick: list[str]) -> None:
    run_module("tests.integrations.lightning_run", tmp_path, *quick)
    assert_goes_on(tmp_path, [MID_EPOCH] if quick else [MID_EPOCH, SECOND_EPOCH, EPOCH_END])


@pytest.mark.slow  # two processes for each run
def test_two_killed_processes_go_on(tmp_path: Path) -> None:
    run_module("tests.integrations.lightning_run", tmp_path, "ddp")
    assert_goes_on(tmp_path, [Kill(2, 3, 2), Kill(3, 4, 3)], ranks=2)
