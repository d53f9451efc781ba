from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from peers.protocol import run

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
CODE = """
import os
from peers.protocol import Channel
channel = Channel()
os.system("echo loud")
print("louder")
channel.serve(lambda: range(3))
"""


def test_an_epoch_is_counted() -> None:
    figures = run(lambda: iter(range(5)))
    assert figures["batches"] == 5
    assert 0 <= figures["first_s"] <= figures["seconds"]


def test_what_libraries_print_does_not_reach_the_benchmark() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=BENCHMARKS, input="epoch\nepoch\n", capture_output=True, text=True, check=True
    )
    ready, *epochs = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert [epoch["batches"] for epoch in epochs] == [3, 3]
    assert done.stderr.split() == ["loud", "louder"]
