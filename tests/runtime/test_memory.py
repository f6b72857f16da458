"""How much memory a process holds, and how much there is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clin_edge.runtime import memory
from clin_edge.runtime.memory import memory_available_bytes, memory_limit_bytes, resident_bytes
from linux_trees import linux_tree

MIB = 1 << 20
CHILD = """
import sys
print("ready", flush=True)
sys.stdin.readline()
held = bytearray(b"x") * (200 << 20)
print("full", flush=True)
sys.stdin.readline()
held.clear()
print("empty", flush=True)
sys.stdin.readline()
"""


def test_a_child_that_takes_200_mib_is_seen_to_take_and_to_give_it_back() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        sizes = []
        for _ in range(3):
            child.stdout.readline()
            sizes.append(resident_bytes(child.pid))
            child.stdin.write("\n")
            child.stdin.flush()
    before, full, after = sizes
    assert before > MIB
    assert 200 * MIB <= full - before < 210 * MIB
    assert abs(after - before) < 10 * MIB
    assert resident_bytes(child.pid) is None  # it ended


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1])
def test_no_such_process_holds_nothing_that_could_be_told(pid: int) -> None:
    assert resident_bytes(pid) is None


def test_one_can_ask_for_oneself() -> None:
    assert resident_bytes(os.getpid()) > 10 * MIB


MEMINFO = "MemTotal:       2000 kB\nMemFree:  5 kB\nMemAvailable:   1500 kB\nHugePages_Total: 0\n"
TOP = "sys/fs/cgroup"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these are files of Linux")
@pytest.mark.parametrize(
    ("files", "limit", "available"),
    [
        ({"proc/meminfo": MEMINFO}, 2_048_000, 1_536_000),
        (
            {
                "proc/meminfo": MEMINFO,
                f"{TOP}/memory.max": "1000000",
                f"{TOP}/memory.current": "900000",
            },
            1_000_000,
            100_000,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                f"{TOP}/memory.max": "9000000",
                f"{TOP}/memory.current": "1",
            },
            2_048_000,
            1_536_000,
        ),
        ({"proc/meminfo": "MemTotal: 2000 kB\n"}, 2_048_000, None),
        ({"proc/meminfo": "nonsense"}, None, None),
        ({}, None, None),
    ],
    ids=["no group", "group is smaller", "machine is smaller", "old kernel", "nonsense", "nothing"],
)
def test_the_smaller_of_machine_and_group_counts(tmp_path, files, limit, available) -> None:
    tree = linux_tree(tmp_path, files=files)
    assert memory_limit_bytes(tree) == limit
    assert memory_available_bytes(tree) == available


def test_this_machine_has_some() -> None:
    available = memory_available_bytes()
    assert memory_limit_bytes() > 100 * MIB
    assert available is None or 0 < available <= memory_limit_bytes()


def test_where_the_system_is_another_it_is_asked_in_its_own_way(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_windows_memory", lambda: (8 * MIB, 4 * MIB))
    monkeypatch.setattr(memory, "_windows_resident", lambda pid: pid)
    monkeypatch.setattr(memory, "memory_limit", lambda _: None)
    monkeypatch.setattr(memory, "memory_left", lambda _: None)
    monkeypatch.setattr(memory, "sysctl", lambda _: (16 * MIB).to_bytes(8, "little"))
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert (memory_limit_bytes(), memory_available_bytes()) == (8 * MIB, 4 * MIB)
    assert resident_bytes(7) == 7
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert (memory_limit_bytes(), memory_available_bytes()) == (16 * MIB, None)
