"""Every example runs. Each one checks what it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.compare import PROJECT, run_module

QUICK = {
    "transforms=fork": "bit for bit the same",
    "ddp_gloo": "2 ranks saw 96 samples",
    "compiled_step=eager": "noise scale: ",
}
SLOW = {
    "lightning_resume": "resumed after 40 of 200",
    "accelerate_loop": "stopped after 32",
    "hf_trainer": "resumed after 40 of 192",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("examples", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)], ids=["quick", "slow"])
def test_they_run(examples: dict[str, str]) -> None:
    printed = run_module("tests.examples.run", *examples)
    assert [text for text in examples.values() if text not in printed] == []


def test_none_is_forgotten() -> None:
    run = {name.partition("=")[0] for name in [*QUICK, *SLOW]}
    assert {path.stem for path in Path(PROJECT, "examples").glob("*.py")} == run
