"""The processor's name and instructions, and what they mean for 8-bit arithmetic."""

from __future__ import annotations

import pytest

from clin_edge.runtime import processor as module
from clin_edge.runtime.processor import Processor, processor

X86 = ("AVX2", "AVX-512", "AVX512-VNNI", "AVX-VNNI", "AMX-INT8")
NEWEST = "fpu sse4_2 avx2 avx512f avx512_vnni avx_vnni amx_tile amx_int8"


@pytest.fixture
def on(monkeypatch, tmp_path):
    """Look up a processor on a machine with this ``/proc/cpuinfo``."""

    def look_up(machine: str, cpuinfo: str | None) -> Processor:
        monkeypatch.setattr(module.platform, "machine", lambda: machine)
        monkeypatch.setattr(module.sys, "platform", "linux")
        if cpuinfo is not None:
            (tmp_path / "proc").mkdir()
            (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
        return processor(tmp_path)

    return look_up


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "name", "there", "int8"),
    [
        ("x86_64", f"processor\t: 0\nmodel name\t: Xeon\nflags\t: {NEWEST}\n", "Xeon", X86, "fast"),
        ("x86_64", "model name: Old\nflags: sse4_2 avx2\n", "Old", ("AVX2",), "works"),
        ("AMD64", "model name: Celeron\nflags: sse4_2\n\nflags: avx2\n", "Celeron", (), "slow"),
        ("x86_64", "model name: E\nflags: avx2 avx_vnni\n", "E", ("AVX2", "AVX-VNNI"), "fast"),
        ("x86_64", "flags: avx2x xavx2\n", "x86_64", (), "slow"),
        ("aarch64", "Features\t: fp asimd asimddp i8mm\n", "aarch64", ("DOTPROD", "I8MM"), "fast"),
        ("aarch64", "Features\t: fp asimd\n", "aarch64", (), "works"),
        ("x86_64", "", "x86_64", (), "unknown"),
        ("x86_64", None, "x86_64", (), "unknown"),
        ("", None, "unknown", (), "unknown"),
    ],
)
def test_linux_tells_all(on, machine, cpuinfo, name, there, int8) -> None:
    found = on(machine, cpuinfo)
    assert found.name == name
    assert tuple(known for known, has in found.instructions.items() if has) == there
    assert found.int8 == int8
    assert (None in found.instructions.values()) == (int8 == "unknown")


def test_windows_tells_of_avx2_and_not_of_vnni(monkeypatch) -> None:
    monkeypatch.setattr(module.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(module.sys, "platform", "win32")
    monkeypatch.setattr(module, "_windows_name", lambda: "Some CPU")
    there = {40: True, 41: False, None: None}
    monkeypatch.setattr(module, "_windows_has", there.__getitem__)
    found = processor()
    assert found.name == "Some CPU"
    assert list(found.instructions.values()) == [True, False, None, None, None]
    assert found.int8 == "works"


def test_macos_tells_by_name(monkeypatch) -> None:
    said = {
        "machdep.cpu.brand_string": b"Apple M2\0",
        "hw.optional.arm.FEAT_DotProd": b"\1\0\0\0",
        "hw.optional.arm.FEAT_I8MM": b"\0\0\0\0",
    }
    monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(module.sys, "platform", "darwin")
    monkeypatch.setattr(module, "sysctl", said.__getitem__)
    found = processor()
    assert (found.name, found.instructions) == ("Apple M2", {"DOTPROD": True, "I8MM": False})
    assert found.int8 == "fast"


def test_this_machine_has_a_name() -> None:
    assert processor().name
