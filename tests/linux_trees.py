"""Pieces of a Linux file system that say what bounds a process, below a folder of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

V2 = "0:0 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "0:0 {root} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"


def linux_tree(
    folder: Path,
    *,
    own: str = "0::/",
    mounts: tuple[str, ...] = (V2.format(root="/"),),
    files: Mapping[str, str] | None = None,
) -> Path:
    """Lay out a root: the process's groups, what is mounted where, and more files by their path.

    ``mounts`` are lines of ``/proc/self/mountinfo`` without their first two numbers.
    """
    lines = [f"{36 + nth} 35 {mount}\n" for nth, mount in enumerate(mounts)]
    said = {
        "proc/self/cgroup": own + "\n",
        "proc/self/mountinfo": "30 1 254:1 / / rw,relatime - ext4 /dev/root rw\n" + "".join(lines),
        **(files or {}),
    }
    for name, text in said.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


def topology(folder: Path, siblings: Mapping[int, str]) -> Path:
    """Lay out ``/sys/devices/system/cpu``: for each CPU, the list of CPUs on its core."""
    for cpu, listed in siblings.items():
        place = folder / f"cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(listed + "\n")
    return folder
