"""What the control groups of Linux (v1, v2 or both) leave to this process: CPU time and memory.

A limit may stand at the process's own group or at any group above it, so all levels that can be
seen are read, and the smallest limit counts. Where there are none, or on another system, nothing is
bounded. Every function takes the ``root`` of the file system it reads, which tests replace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def cpu_quota(root: Path = ROOT) -> float:
    """Give the CPUs' worth of time this process may take; infinite where nothing bounds it."""
    bounds = [math.inf]
    for version, group in _groups("cpu", root):
        try:
            if version == 2:
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
            share = int(quota) / int(period)  # "max", version 2's word for no bound, is no number
        except (OSError, ValueError, ZeroDivisionError):
            continue
        if share > 0 or version == 2:  # version 1 writes -1 for no bound
            bounds.append(max(share, 0.0))
    return min(bounds)


def memory_limit(root: Path = ROOT) -> int | None:
    """Give the bytes of memory this process's group may hold; None where nothing bounds it."""
    limits = [limit for _, _, limit in _memory(root)]
    return min(limits, default=None)


def memory_left(root: Path = ROOT) -> int | None:
    """Give the bytes that may still be taken before a limit is met; None where there is none.

    Pages of files that were read and not used since count as free: the kernel drops them first.
    """
    left = []
    for version, group, limit in _memory(root):
        used = _number(group / ("memory.current" if version == 2 else "memory.usage_in_bytes"))
        if used is not None:
            left.append(max(0, limit - used + _idle_file_pages(group)))
    return min(left, default=None)


def _memory(root: Path) -> Iterator[tuple[int, Path, int]]:
    """Yield version, group and limit of every level that has a limit."""
    for version, group in _groups("memory", root):
        limit = _number(group / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        if limit is not None and limit < 1 << 60:  # version 1 writes a huge number for none
            yield version, group, limit


def _groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Yield version and folder of this process's group and of each above it that can be seen."""
    try:
        paths = _own_paths((root / "proc/self/cgroup").read_text(), controller)
        mounts = (root / "proc/self/mountinfo").read_text()
    except (OSError, ValueError):
        return
    for line in mounts.splitlines():
        mounted, _, source = line.partition(" - ")
        fields, kind, options = mounted.split(), source.split()[:1], source.split()[2:]
        if kind == ["cgroup2"]:
            version = 2
        elif kind == ["cgroup"] and options and controller in options[0].split(","):
            version = 1
        else:
            continue
        if len(fields) < 5 or version not in paths:
            continue
        top = root / fields[4].lstrip("/")
        group = top / _below(paths[version], fields[3])
        yield version, group
        while group != top:
            group = group.parent
            yield version, group


def _own_paths(text: str, controller: str) -> dict[int, str]:
    """Read ``/proc/self/cgroup``: the path of the process's group, by version."""
    paths = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _below(path: str, mounted: str) -> str:
    """Give a group's path below its mount, of which only the part ``mounted`` may be shown.

    A container sees its own group as the mount itself. What lies outside the part shown has no
    place there; the mount's own limits are all that can be seen then.
    """
    shown = mounted.rstrip("/")
    if ".." in path.split("/") or not f"{path}/".startswith(f"{shown}/"):
        return ""
    return path[len(shown) :].strip("/")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _idle_file_pages(group: Path) -> int:
    try:
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(facts.get("total_inactive_file", facts.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
