from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peers.launch import Process, how_to_make
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photographs in two classes."""
    for number in range(6):
        path = tmp_path / "photographs" / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 255, (40, 60, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(path)
    return tmp_path / "photographs"


@pytest.fixture
def peer(folder: Path, tmp_path: Path) -> Iterator[Process]:
    arguments = (str(folder), "2", "2", "--executor", "thread")
    peer = Process("stoker", 3, "stoker", tmp_path / "log", arguments, prepares_ahead=True)
    peer.start()
    yield peer
    peer.stop()


def test_a_contender_in_a_process_of_its_own_runs_an_epoch_when_told_to(peer: Process) -> None:
    for _ in range(2):
        turn = peer.take_turn()
        assert turn.batches_per_s > 0
        assert 0 < turn.first_batch_s < 3 / turn.batches_per_s
        assert turn.peak_bytes > 2**20


def test_another_number_of_batches_is_an_error(peer: Process) -> None:
    peer.batches = 4
    with pytest.raises(RuntimeError, match="stoker made 3 batches instead of 4"):
        peer.take_turn()


def test_what_a_peer_wrote_before_its_end_is_told(tmp_path: Path) -> None:
    peer = Process("stoker", 3, "stoker", tmp_path / "log", (str(tmp_path / "nowhere"), "2", "2"))
    with pytest.raises(RuntimeError, match=r"(?s)stoker has ended\. The last that it wrote:.*nowhere"):
        peer.start()
    peer.stop()


def test_the_command_that_makes_an_environment_is_told() -> None:
    assert how_to_make("tf") == (
        "python -m venv build/peers/tf && build/peers/tf/bin/pip install --no-deps -r benchmarks/requirements-tf.txt"
    )
