"""Freed memory stays in the process where it is told so."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Frees 64 MiB, and tells how much of them the process still holds.
FREE = """
import ctypes, sys
from clin_edge.distill.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
before = resident()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
block = libc.malloc(ctypes.c_size_t(64 << 20))
ctypes.memset(block, 1, 64 << 20)
libc.free(block)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("how", "least", "most"), [("keep", 60 << 20, 80 << 20), ("", -1e9, 8e6)])
def test_freed_memory_is_kept_only_if_asked(how: str, least: float, most: float) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FREE, how], capture_output=True, text=True, check=True
    )
    assert least < int(run.stdout) < most


def test_where_the_c_library_has_no_mallopt_nothing_happens(monkeypatch) -> None:
    from clin_edge.distill import memory

    monkeypatch.setattr(memory, "_c_library", lambda: None)
    memory.keep_freed_memory()
