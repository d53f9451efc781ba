"""Loops without a framework: killed within an epoch, they go on with the same samples and the same random transforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.compare import assert_goes_on, run_module
from tests.integrations.phases import MID_EPOCH, SECOND_EPOCH, Kill

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow  # each run compiles; the example of a compiled step is quick
def test_a_compiled_step_over_torchvision_and_albumentations(tmp_path: Path) -> None:
    run_module("tests.integrations.plain_run", tmp_path)
    assert_goes_on(tmp_path, [MID_EPOCH, SECOND_EPOCH])


def test_distributed_data_parallel_with_gloo(tmp_path: Path) -> None:
    run_module("tests.integrations.plain_run", tmp_path, "ddp")
    assert_goes_on(tmp_path, [Kill(1, 2, 2), Kill(1, 4, 3)], ranks=2)
