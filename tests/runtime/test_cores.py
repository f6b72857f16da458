"""Physical cores behind CPUs, as each system tells of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.runtime import cores
from clin_edge.runtime.cores import (
    allowed_cpus,
    cores_in_records,
    cores_in_sysfs,
    physical_cores,
    sysctl,
)
from linux_trees import topology

# 4 cores of two threads each, numbered as Linux does on most Intel machines.
FOUR_OF_TWO = {cpu: f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (range(8), 4),
        ({0, 4}, 1),
        ({0, 1}, 2),
        ({0, 1, 4}, 2),
        ({7}, 1),
        (set(), None),
        ({0, 8}, None),  # a CPU the system says nothing of
    ],
    ids=str,
)
def test_threads_of_one_core_count_once(tmp_path, allowed, expected) -> None:
    assert cores_in_sysfs(set(allowed), topology(tmp_path, FOUR_OF_TWO)) == expected


@given(
    core_of=st.dictionaries(st.integers(0, 63), st.integers(0, 9), min_size=1, max_size=20),
    data=st.data(),
)
def test_it_is_the_number_of_different_cores(tmp_path_factory, core_of, data) -> None:
    def listed(core: int) -> str:
        return ",".join(str(cpu) for cpu in sorted(core_of) if core_of[cpu] == core)

    tree = topology(tmp_path_factory.mktemp("t"), {c: listed(core) for c, core in core_of.items()})
    allowed = data.draw(st.sets(st.sampled_from(sorted(core_of)), min_size=1))
    assert cores_in_sysfs(allowed, tree) == len({core_of[cpu] for cpu in allowed})


def test_an_old_kernel_names_core_and_package(tmp_path) -> None:
    for cpu, (package, core) in enumerate([(0, 0), (0, 1), (1, 0), (1, 0)]):
        place = tmp_path / f"cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "physical_package_id").write_text(f"{package}\n")
        (place / "core_id").write_text(f"{core}\n")
    assert cores_in_sysfs({0, 1, 2, 3}, tmp_path) == 3
    assert cores_in_sysfs({2, 3}, tmp_path) == 1


def test_a_system_that_tells_nothing_of_cores_leaves_them_unknown(tmp_path) -> None:
    assert cores_in_sysfs({0}, tmp_path / "none") is None


def record(mask: int, relation: int) -> bytes:
    return struct.pack("<QIIQQ", mask, relation, 0xFFFFFFFF, 2**64 - 1, 2**64 - 1)


CORE, NODE, CACHE = 0, 1, 2
WINDOWS = b"".join(
    [
        *(record(0b11 << 2 * nth, CORE) for nth in range(3)),
        record(1 << 6, CORE),
        record(0x7F, NODE),
        record(0x7F, CACHE),
    ]
)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [(0x7F, 4), (0b11, 1), (0b101, 2), (1 << 6, 1), (1 << 9, None), (0, None)],
)
def test_windows_records_of_cores_are_counted(mask, expected) -> None:
    assert cores_in_records(WINDOWS, mask) == expected


@pytest.mark.parametrize("records", [b"", b"\0" * 31])
def test_no_records_leave_cores_unknown(records: bytes) -> None:
    assert cores_in_records(records, 1) is None


def test_a_half_record_at_the_end_is_left_out() -> None:
    assert cores_in_records(WINDOWS + record(1 << 7, CORE)[:-1], 0xFF) == 4


def test_each_system_is_asked_in_its_own_way(monkeypatch) -> None:
    monkeypatch.setattr(cores, "_windows_records", lambda: WINDOWS)
    monkeypatch.setattr(cores, "_macos_cores", lambda: 10)
    monkeypatch.setattr(cores.sys, "platform", "win32")
    assert physical_cores({0, 1, 2}) == 2
    monkeypatch.setattr(cores.sys, "platform", "darwin")
    assert physical_cores({0, 1, 2}) == 10


def test_windows_affinity_is_a_mask(monkeypatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr(cores, "_windows_affinity", lambda: 0b1010)
    assert allowed_cpus() == {1, 3}
    monkeypatch.setattr(cores, "_windows_affinity", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert allowed_cpus() == {0, 1, 2}
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert allowed_cpus() == {0}


def test_this_machine_has_no_more_cores_than_cpus() -> None:
    allowed = allowed_cpus()
    found = physical_cores(allowed)
    assert found is None or 1 <= found <= len(allowed)
    assert bool(sysctl("hw.physicalcpu")) == (cores.sys.platform == "darwin")
