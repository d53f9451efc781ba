"""What a process holds that can leak: child processes, open descriptors, names in /dev/shm."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Holdings:
    """A picture of what this process holds at one moment."""

    children: dict[int, str] = field(default_factory=dict)
    descriptors: dict[str, str] = field(default_factory=dict)
    shared_names: frozenset[str] = frozenset()

    @classmethod
    def now(cls) -> Holdings:
        gc.collect()
        shared = frozenset(os.listdir(_SHARED_MEMORY)) if _SHARED_MEMORY.is_dir() else frozenset()
        return cls(_children(), _descriptors(), shared)

    def beyond(self, baseline: Holdings) -> list[str]:
        """What is held now and was not held then, a line for each."""
        children = [f"child {pid}: {text}" for pid, text in self.children.items() if pid not in baseline.children]
        # By count and target, not by number: a descriptor's number is reused at once.
        before = list(baseline.descriptors.values())
        descriptors = []
        for number, target in self.descriptors.items():
            if target in before:
                before.remove(target)
            else:
                descriptors.append(f"descriptor {number}: {target}")
        names = [f"/dev/shm/{name}" for name in sorted(self.shared_names - baseline.shared_names)]
        return children + descriptors + names


def settle(baseline: Holdings, deadline_s: float = 5.0) -> list[str]:
    """Waits until nothing is held beyond `baseline`; what still is after `deadline_s`. Workers take moments to end."""
    end = time.monotonic() + deadline_s
    while leaks := Holdings.now().beyond(baseline):
        if time.monotonic() > end:
            return leaks
        time.sleep(0.02)
    return []


def _children() -> dict[int, str]:
    children = {}
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                children[child.pid] = " ".join(child.cmdline())[:120]
        except psutil.NoSuchProcess:
            continue
    return children


def _descriptors() -> dict[str, str]:
    descriptors = {}
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the descriptor of the listing itself
        # Sockets and pipes have a new inode each time: only their kind can be compared.
        descriptors[number] = target.partition(":[")[0]
    return descriptors
