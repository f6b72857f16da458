"""How many threads this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from clin_edge.core.errors import InputError

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def usable_threads() -> int:
    """Give the smaller of the process's CPU affinity and its cgroup quota, at least 1.

    ``CLIN_EDGE_THREADS`` overrides both.

    Raises:
        InputError: If ``CLIN_EDGE_THREADS`` is no whole number above 0.
    """
    asked = os.environ.get("CLIN_EDGE_THREADS")
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise InputError(f"CLIN_EDGE_THREADS={asked!r}: expected a whole number above 0")
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        n_cpus = len(os.sched_getaffinity(0))
    else:  # Windows and macOS tell the process no affinity
        n_cpus = os.cpu_count() or 1
    return max(1, min(n_cpus, math.ceil(_cgroup_cpus())))


def _cgroup_cpus() -> float:
    """Give the CPUs a container's quota allows; infinite where there is none."""
    try:
        quota, period = _CGROUP_V2.read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((_CGROUP_V1 / "cpu.cfs_quota_us").read_text())
        period_us = int((_CGROUP_V1 / "cpu.cfs_period_us").read_text())
        return math.inf if quota_us <= 0 else quota_us / period_us
    except (OSError, ValueError):
        return math.inf
