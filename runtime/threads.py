"""How many threads this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from clin_edge.core.errors import InputError

MAX_THREADS = 512  # more is a mistake in writing, and would stall the machine
_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def usable_threads() -> int:
    """Give the smaller of the process's CPU affinity and its cgroup quota, at least 1.

    ``CLIN_EDGE_THREADS`` overrides both.

    Raises:
        InputError: If ``CLIN_EDGE_THREADS`` is no number from 1 to ``MAX_THREADS``.
    """
    asked = os.environ.get("CLIN_EDGE_THREADS")
    if asked:
        if len(asked) > 3 or not asked.isdecimal() or not 1 <= int(asked) <= MAX_THREADS:
            raise InputError(f"CLIN_EDGE_THREADS={asked!r}: expected 1 to {MAX_THREADS}")
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        n_cpus = len(os.sched_getaffinity(0))
    else:  # Windows and macOS tell the process no affinity
        n_cpus = os.cpu_count() or 1
    return max(1, math.ceil(min(n_cpus, _cgroup_cpus())))


def _cgroup_cpus() -> float:
    """Give the CPUs a container's quota allows; infinite where there is none."""
    try:
        quota, period = _CGROUP_V2.read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        quota_us = int((_CGROUP_V1 / "cpu.cfs_quota_us").read_text())
        period_us = int((_CGROUP_V1 / "cpu.cfs_period_us").read_text())
        return math.inf if quota_us <= 0 else quota_us / period_us
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
