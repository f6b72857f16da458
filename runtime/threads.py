"""How many threads this process should use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from clin_edge.core.errors import InputError
from clin_edge.runtime.cgroups import cpu_quota
from clin_edge.runtime.cores import allowed_cpus, physical_cores

MAX_THREADS = 512  # more is a mistake in writing, and would stall the machine


@dataclass(frozen=True, slots=True)
class CpuShare:
    """The part of a machine's CPUs that this process may use, and what bounds it.

    Attributes:
        machine: CPUs of the machine, as its system counts them.
        allowed: Those of them this process may run on (its affinity).
        cores: Physical cores behind these; None where the system does not tell.
        quota: CPUs' worth of time a control group allows; infinite without one.
        asked: What ``CLIN_EDGE_THREADS`` says.
    """

    machine: int
    allowed: int
    cores: int | None
    quota: float
    asked: int | None = None

    def __post_init__(self) -> None:
        """Refuse counts below 1 and a quota that is none."""
        counts = (self.machine, self.allowed, self.cores, self.asked)
        if any(count is not None and count < 1 for count in counts) or not self.quota >= 0:
            raise ValueError(f"no share of a machine's CPUs: {self}")

    @property
    def threads(self) -> int:
        """What was asked for, or the smallest of all bounds: part of a CPU's time is one more."""
        if self.asked is not None:
            return self.asked
        return max(1, math.ceil(min(self.allowed, self.cores or self.allowed, self.quota)))


def usable_threads() -> int:
    """Give the smallest of CPU affinity, cgroup quota and physical cores, at least 1.

    Two threads on one core share its arithmetic units, which this work keeps busy, so CPUs that are
    one core count once. Where the system does not tell cores (some containers and virtual
    machines), every CPU counts. ``CLIN_EDGE_THREADS`` overrides all of it.

    Raises:
        InputError: If ``CLIN_EDGE_THREADS`` is no number from 1 to ``MAX_THREADS``.
    """
    return cpu_share(threads_asked()).threads


def cpu_share(asked: int | None = None) -> CpuShare:
    """Look up what bounds this process's use of CPUs now."""
    allowed = allowed_cpus()
    return CpuShare(
        machine=max(os.cpu_count() or 1, len(allowed)),
        allowed=len(allowed),
        cores=physical_cores(allowed),
        quota=cpu_quota(),
        asked=asked,
    )


def threads_asked() -> int | None:
    """Read ``CLIN_EDGE_THREADS``; None if it is not set, or empty.

    Raises:
        InputError: If it is no number from 1 to ``MAX_THREADS``.
    """
    asked = os.environ.get("CLIN_EDGE_THREADS")
    if not asked:
        return None
    if len(asked) > 3 or not asked.isdecimal() or not 1 <= int(asked) <= MAX_THREADS:
        raise InputError(f"CLIN_EDGE_THREADS={asked!r}: expected 1 to {MAX_THREADS}")
    return int(asked)
