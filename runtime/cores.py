"""How many physical cores are behind the CPUs a process may use.

A core that runs two threads at once (SMT, "hyper-threading") shows as two CPUs, with one set of
arithmetic units between them.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Set
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")


def allowed_cpus() -> Set[int]:
    """Give the numbers of the CPUs this process may run on.

    On Windows only those of the process's own group of (at most 64) CPUs; macOS knows no affinity.
    """
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    mask = _windows_affinity()
    if mask:
        return {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1}
    return set(range(os.cpu_count() or 1))


def physical_cores(allowed: Set[int]) -> int | None:
    """Give the number of physical cores that the CPUs in ``allowed`` belong to; None if unknown."""
    if sys.platform == "win32":
        mask = sum(1 << cpu for cpu in allowed)
        return cores_in_records(_windows_records(), mask)
    if sys.platform == "darwin":
        return _macos_cores()
    return cores_in_sysfs(allowed)


def cores_in_sysfs(allowed: Set[int], cpus: Path = _CPUS) -> int | None:
    """Count the cores of ``allowed`` by Linux's topology files below ``cpus``; None if unknown."""
    cores = set()
    for cpu in allowed:
        topology = cpus / f"cpu{cpu}/topology"
        try:
            cores.add((topology / "thread_siblings_list").read_text().strip())
        except OSError:
            try:
                names = ("physical_package_id", "core_id")
                cores.add("/".join((topology / name).read_text().strip() for name in names))
            except OSError:
                return None
    return len(cores) or None


def cores_in_records(records: bytes, mask: int) -> int | None:
    """Count the cores with a CPU in ``mask`` among Windows' records of logical processors.

    A record is a SYSTEM_LOGICAL_PROCESSOR_INFORMATION of a 64-bit system: the mask of CPUs, what
    they share (0: a core), 20 bytes more.
    """
    layout = struct.Struct("<QI20x")
    whole = len(records) - len(records) % layout.size
    found = layout.iter_unpack(records[:whole])
    return sum(relation == 0 and cpus & mask > 0 for cpus, relation in found) or None


def _windows_affinity() -> int:
    """Give the mask of CPUs this process may run on; 0 where it spans groups, or elsewhere."""
    if sys.platform != "win32":
        return 0
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    own, machine = ctypes.c_size_t(), ctypes.c_size_t()
    process = ctypes.c_void_p(kernel32.GetCurrentProcess())
    if not kernel32.GetProcessAffinityMask(process, ctypes.byref(own), ctypes.byref(machine)):
        return 0
    return own.value


def _windows_records() -> bytes:
    """Ask Windows for its records of logical processors; empty if it has none, or elsewhere."""
    if sys.platform != "win32":
        return b""
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32")
    n_bytes = ctypes.c_uint32()
    kernel32.GetLogicalProcessorInformation(None, ctypes.byref(n_bytes))
    buffer = ctypes.create_string_buffer(n_bytes.value)
    if not kernel32.GetLogicalProcessorInformation(buffer, ctypes.byref(n_bytes)):
        return b""
    return buffer.raw[: n_bytes.value]


def _macos_cores() -> int | None:
    value = sysctl("hw.physicalcpu")
    return int.from_bytes(value, "little") if value else None


def sysctl(name: str) -> bytes:
    """Ask macOS for a fact of the machine, as it lies in memory; empty if unknown, or elsewhere."""
    if sys.platform != "darwin":
        return b""
    import ctypes

    libc = ctypes.CDLL(None)
    size = ctypes.c_size_t(256)
    buffer = ctypes.create_string_buffer(size.value)
    if libc.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)):
        return b""
    return buffer.raw[: size.value]
