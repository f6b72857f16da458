"""Memory: how much a process holds, and how much this one may take."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

from clin_edge.runtime.cgroups import ROOT, memory_left, memory_limit
from clin_edge.runtime.cores import sysctl


def resident_bytes(pid: int) -> int | None:
    """Give the memory a process holds now, in bytes: its resident set, shared pages included.

    None where it cannot be told: there is no such process, it is another user's, or the system is
    neither Linux, Windows nor macOS.
    """
    if pid < 1:
        return None
    if sys.platform == "win32":
        return _windows_resident(pid)
    if sys.platform == "darwin":
        return _macos_resident(pid)
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Give the most memory this process can have: the machine's, or its cgroup's if smaller."""
    return _smallest(_machine_memory(root)[0], memory_limit(root))


def memory_available_bytes(root: Path = ROOT) -> int | None:
    """Give what this process could take now without swapping; None where it cannot be told."""
    return _smallest(_machine_memory(root)[1], memory_left(root))


def _smallest(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _machine_memory(root: Path) -> tuple[int | None, int | None]:
    """Give the machine's memory and how much of it is free, in bytes, each None if unknown."""
    if sys.platform == "win32":
        return _windows_memory()
    if sys.platform == "darwin":
        return int.from_bytes(sysctl("hw.memsize"), "little") or None, None
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
    except (OSError, ValueError, IndexError):
        return None, None
    found = (kib.get(name) for name in ("MemTotal", "MemAvailable"))
    total, available = (None if size is None else size * 1024 for size in found)
    return total, available


def _windows_memory() -> tuple[int | None, int | None]:
    if sys.platform != "win32":
        return None, None
    # A MEMORYSTATUSEX: its own size, a load in percent, then 7 sizes in bytes.
    layout = struct.Struct("<II7Q")
    buffer = ctypes.create_string_buffer(layout.pack(layout.size, *[0] * 8), layout.size)
    if not ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(buffer):
        return None, None
    _, _, total, available, *_ = layout.unpack(buffer.raw)
    return total, available


def _windows_resident(pid: int) -> int | None:
    if sys.platform != "win32":
        return None
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.OpenProcess.restype = ctypes.c_void_p
    limited_information = 0x1000
    handle = kernel32.OpenProcess(limited_information, False, ctypes.c_uint32(pid))
    if not handle:
        return None
    # A PROCESS_MEMORY_COUNTERS: its own size, page faults, then 8 sizes; the second is held now.
    layout = struct.Struct("<II8Q")
    buffer = ctypes.create_string_buffer(layout.size)
    try:
        process, size = ctypes.c_void_p(handle), ctypes.c_uint32(layout.size)
        if not kernel32.K32GetProcessMemoryInfo(process, buffer, size):
            return None
    finally:
        kernel32.CloseHandle(ctypes.c_void_p(handle))
    return int(layout.unpack(buffer.raw)[3])


def _macos_resident(pid: int) -> int | None:
    # proc_pidinfo's PROC_PIDTASKINFO fills a proc_taskinfo of 96 bytes: virtual size, resident size
    # and what is not needed here.
    buffer = ctypes.create_string_buffer(96)
    libproc = ctypes.CDLL("/usr/lib/libproc.dylib")
    filled = libproc.proc_pidinfo(pid, 4, ctypes.c_uint64(0), buffer, len(buffer))
    if filled != len(buffer):
        return None
    return int(struct.unpack_from("<QQ", buffer.raw)[1])
