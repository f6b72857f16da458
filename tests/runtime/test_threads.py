"""How many threads: what the user says, or else what the process may really use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.runtime import threads
from clin_edge.runtime.threads import MAX_THREADS, usable_threads


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A machine with 8 cores for this process and no quota; a function sets up another one."""
    monkeypatch.delenv("CLIN_EDGE_THREADS", raising=False)
    monkeypatch.setattr(threads, "_CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(threads, "_CGROUP_V1", tmp_path / "cpu")
    (tmp_path / "cpu").mkdir()

    def make(
        affinity: int | None = 8, v2: str | None = None, v1: tuple[str, str] | None = None
    ) -> None:
        if affinity is None:
            monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        else:
            cores = set(range(affinity))
            monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores, raising=False)
        if v2 is not None:
            (tmp_path / "cpu.max").write_text(v2)
        if v1 is not None:
            for name, text in zip(("quota", "period"), v1, strict=True):
                (tmp_path / f"cpu/cpu.cfs_{name}_us").write_text(text)

    make()
    return make


@pytest.mark.parametrize(("said", "expected"), [("1", 1), ("16", 16), ("007", 7), ("512", 512)])
def test_the_environment_overrides_everything(machine, monkeypatch, said, expected) -> None:
    machine(affinity=4, v2="100000 100000\n")
    monkeypatch.setenv("CLIN_EDGE_THREADS", said)
    assert usable_threads() == expected


@pytest.mark.parametrize(
    "said",
    [
        "0",
        "00",
        "-1",
        "+2",
        "2.0",
        "1e1",
        "two",
        " ",
        "2 ",
        "1_0",
        "0x2",
        "²",
        "½",
        "513",
        "9" * 20,
    ],
)
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, said: str) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", said)
    with pytest.raises(InputError) as caught:
        usable_threads()
    assert str(caught.value) == f"CLIN_EDGE_THREADS={said!r}: expected 1 to {MAX_THREADS}"
    assert caught.value.exit_code == 3


def test_a_number_too_long_to_read_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "9" * 5000)  # int() gives up on more than 4300 digits
    with pytest.raises(InputError):
        usable_threads()


def test_an_empty_setting_is_none(monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "")
    assert usable_threads() == 8


@pytest.mark.parametrize("cores", [1, 2, 96])
def test_without_a_quota_affinity_decides(machine, cores: int) -> None:
    machine(affinity=cores)
    assert usable_threads() == cores


def test_where_there_is_no_affinity_the_number_of_cores_decides(machine, monkeypatch) -> None:
    machine(affinity=None)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_threads() == 1


QUOTAS = [
    ("100000", "100000", 1),
    ("200000", "100000", 2),
    ("150000", "100000", 2),  # part of a core is used too
    ("100001", "100000", 2),
    ("50000", "100000", 1),
    ("1", "1000000", 1),
    ("0", "100000", 1),
    ("1600000", "100000", 8),  # more than the affinity allows
]


@pytest.mark.parametrize(("quota", "period", "expected"), QUOTAS)
def test_a_quota_of_cgroup_v2_bounds_it(machine, quota, period, expected) -> None:
    machine(v2=f"{quota} {period}\n")
    assert usable_threads() == expected


@pytest.mark.parametrize(("quota", "period", "expected"), [q for q in QUOTAS if q[0] != "0"])
def test_a_quota_of_cgroup_v1_bounds_it(machine, quota, period, expected) -> None:
    machine(v1=(f"{quota}\n", f"{period}\n"))
    assert usable_threads() == expected


def test_no_quota_is_no_bound(machine) -> None:
    machine(v2="max 100000\n")
    assert usable_threads() == 8


@pytest.mark.parametrize("quota", ["-1", "0"])
def test_no_quota_is_no_bound_in_cgroup_v1(machine, quota: str) -> None:
    machine(v1=(f"{quota}\n", "100000\n"))
    assert usable_threads() == 8


def test_version_2_comes_before_version_1(machine) -> None:
    machine(v2="300000 100000\n", v1=("100000", "100000"))
    assert usable_threads() == 3


@pytest.mark.parametrize(
    "text", ["", "max", "max max", "1 2 3", "a b", "100000", "\0", "100000 0", "0 0"]
)
def test_a_quota_that_makes_no_sense_is_none(machine, text: str) -> None:
    machine(v2=text)
    assert usable_threads() == 8


@given(quota=st.integers(-(10**6), 10**7), period=st.integers(1, 10**6), cores=st.integers(1, 64))
def test_it_is_never_less_than_one_nor_more_than_the_affinity(quota, period, cores) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as here:
        here.setattr(threads, "_cgroup_cpus", lambda: quota / period)
        here.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        assert 1 <= usable_threads() <= cores


def test_it_can_be_told_on_this_machine(monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("CLIN_EDGE_THREADS", raising=False)
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
