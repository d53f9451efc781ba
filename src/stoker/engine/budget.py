"""What this process may use: its share of CPUs and memory, as affinity, cgroups and the ranks beside it allow."""

from __future__ import annotations

import os
import re
from pathlib import Path

from stoker.errors import ArgumentError

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_bytes(size: int | str) -> int:
    """A number of bytes, or a text such as "512MB" or "2GiB".

    Raises:
        ArgumentError: the text is no size, or the size is not positive.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(size))
    if (
        match is None
        or match[2].upper() not in _UNITS
        or (num_bytes := int(float(match[1]) * _UNITS[match[2].upper()])) < 1
    ):
        raise ArgumentError(
            f"a size must be a positive number of bytes, or a text such as '512MB' or '2GiB'; got {size!r}."
        )
    return num_bytes


def cpu_budget() -> int:
    """CPUs for this process: its affinity, its cgroup's quota, divided by the ranks on this node; at least 1."""
    cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    cpus = min(cpus, _cgroup_cpus())
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1)
    return max(1, int(cpus / max(1, ranks)))


def available_memory_bytes() -> int:
    """Memory that can be used without swapping or being killed: the machine's, or the cgroup's where that is less."""
    return min(_machine_available(), _cgroup_available())


def _machine_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _cgroup_available() -> int:
    current = _number(_CGROUP / "memory.current") or _number(_CGROUP / "memory/memory.usage_in_bytes") or 0
    limit = _number(_CGROUP / "memory.max") or _number(_CGROUP / "memory/memory.limit_in_bytes") or _UNLIMITED
    return max(0, limit - current)


def _cgroup_cpus() -> float:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        pass
    quota_us, period_us = _number(_CGROUP / "cpu/cpu.cfs_quota_us"), _number(_CGROUP / "cpu/cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else float("inf")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
