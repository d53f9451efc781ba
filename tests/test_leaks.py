"""The leak check sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory

import pytest

from tests.leaks import Holdings, settle


def test_a_child_is_seen_and_its_end_is_waited_for() -> None:
    baseline = Holdings.now()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert any(line.startswith(f"child {child.pid}: ") for line in settle(baseline, deadline_s=0))
        assert child.stdin is not None
        child.stdin.close()
    assert settle(baseline) == []


def test_a_descriptor_is_seen_though_others_like_it_were_open() -> None:
    first = os.pipe()
    baseline = Holdings.now()
    second = os.pipe()
    try:
        assert len(settle(baseline, deadline_s=0)) == 2
    finally:
        for descriptor in (*first, *second):
            os.close(descriptor)
    assert settle(baseline) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm")
def test_a_name_in_shared_memory_is_seen() -> None:
    baseline = Holdings.now()
    segment = SharedMemory(create=True, size=1)
    assert f"/dev/shm/{segment.name}" in settle(baseline, deadline_s=0)
    segment.close()
    segment.unlink()
    assert f"/dev/shm/{segment.name}" not in settle(baseline, deadline_s=0)
