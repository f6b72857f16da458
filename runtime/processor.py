"""The processor: its name, and the instructions that decide how fast 8-bit arithmetic is."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clin_edge.runtime.cgroups import ROOT
from clin_edge.runtime.cores import sysctl

# What people call an instruction set: its name on Linux, on macOS (None: no machine of Apple's has
# it), and its number on Windows (None: Windows does not tell).
_X86 = {
    "AVX2": ("avx2", "hw.optional.avx2_0", 40),
    "AVX-512": ("avx512f", "hw.optional.avx512f", 41),
    "AVX512-VNNI": ("avx512_vnni", "hw.optional.avx512vnni", None),
    "AVX-VNNI": ("avx_vnni", None, None),
    "AMX-INT8": ("amx_int8", None, None),
}
_ARM = {
    "DOTPROD": ("asimddp", "hw.optional.arm.FEAT_DotProd", 43),
    "I8MM": ("i8mm", "hw.optional.arm.FEAT_I8MM", None),
}
_MADE_FOR_INT8 = ("AVX512-VNNI", "AVX-VNNI", "AMX-INT8", "DOTPROD", "I8MM")
_X86_MACHINES = ("x86_64", "amd64", "i686", "i386", "x86")


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor, and which instruction sets it has: yes, no, or unknown (None)."""

    name: str
    architecture: str
    instructions: Mapping[str, bool | None]

    @property
    def int8(self) -> str:
        """How 8-bit arithmetic runs here: ``fast``, ``works``, ``slow`` or ``unknown``.

        Fast: with instructions made for it. Works: without them. Slow: an x86 without AVX2.
        Where the system does not tell of the instructions made for it, what it tells of counts.
        """
        has = self.instructions
        if any(has.get(name) for name in _MADE_FOR_INT8):
            return "fast"
        if has.get("AVX2") or has.get("DOTPROD") is False:
            return "works"
        return "slow" if has.get("AVX2") is False else "unknown"

    @property
    def prefers_float(self) -> bool:
        """Whether OpenVINO multiplies faster in float here: on an x86 with AVX2, nothing newer.

        There INT8 models took 1.3 to 1.6 times as long in INT8 (``results/engines.json``).
        """
        has = self.instructions
        newer = any(has.get(name) is not False for name in has if name != "AVX2")
        return bool(has.get("AVX2")) and not newer


def processor(root: Path = ROOT) -> Processor:
    """Look up this machine's processor; on Linux in ``/proc/cpuinfo`` below ``root``."""
    architecture = platform.machine()
    sets = _X86 if architecture.lower() in _X86_MACHINES else _ARM
    if sys.platform == "win32":
        name = _windows_name()
        has = {known: _windows_has(number) for known, (_, _, number) in sets.items()}
    elif sys.platform == "darwin":
        name = sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode("ascii", "replace")
        has = {known: _macos_has(said) for known, (_, said, _) in sets.items()}
    else:
        facts = _cpuinfo(root)
        name = facts.get("model name", "")
        flags = (facts.get("flags") or facts.get("Features") or "").split()
        has = {known: flag in flags if flags else None for known, (flag, _, _) in sets.items()}
    return Processor(name or architecture or "unknown", architecture, has)


def _cpuinfo(root: Path) -> dict[str, str]:
    """Give what Linux says of the first CPU."""
    try:
        first, _, _ = (root / "proc/cpuinfo").read_text(errors="replace").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _macos_has(name: str | None) -> bool | None:
    return False if name is None else any(sysctl(name))


def _windows_has(number: int | None) -> bool | None:
    if number is None or sys.platform != "win32":
        return None
    import ctypes

    return bool(ctypes.WinDLL("kernel32").IsProcessorFeaturePresent(number))


def _windows_name() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return ""
