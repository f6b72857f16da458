"""How many threads: what the user says, or else what the process may really use."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.runtime import threads
from clin_edge.runtime.threads import MAX_THREADS, CpuShare, cpu_share, usable_threads


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with 8 CPUs on 8 cores, and no quota; a function sets up another one."""
    monkeypatch.delenv("CLIN_EDGE_THREADS", raising=False)

    def make(affinity: int = 8, cores: int | None = 8, quota: float = math.inf) -> None:
        monkeypatch.setattr(threads, "allowed_cpus", lambda: set(range(affinity)))
        monkeypatch.setattr(threads, "physical_cores", lambda _: cores)
        monkeypatch.setattr(threads, "cpu_quota", lambda: quota)

    make()
    return make


@pytest.mark.parametrize(("said", "expected"), [("1", 1), ("16", 16), ("007", 7), ("512", 512)])
def test_the_environment_overrides_everything(machine, monkeypatch, said, expected) -> None:
    machine(affinity=4, cores=2, quota=1)
    monkeypatch.setenv("CLIN_EDGE_THREADS", said)
    assert usable_threads() == expected


@pytest.mark.parametrize(
    "said",
    [
        *("0", "00", "-1", "+2", "2.0", "1e1", "two", " ", "2 ", "1_0", "0x2", "²", "½", "513"),
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


@pytest.mark.parametrize(
    ("affinity", "cores", "quota", "expected"),
    [
        (8, 8, math.inf, 8),
        (3, 3, math.inf, 3),
        (8, 4, math.inf, 4),  # two threads a core
        (2, 1, math.inf, 1),
        (8, None, math.inf, 8),  # cores unknown
        (8, 4, 2.0, 2),
        (8, 4, 1.5, 2),  # part of a CPU's time is used too
        (8, 4, 1.00001, 2),
        (8, 4, 0.5, 1),
        (8, 4, 0.0, 1),
        (8, 4, 16.0, 4),
        (1, 1, math.inf, 1),
        (96, 48, 40.0, 40),
    ],
)
def test_the_smallest_bound_counts(machine, affinity, cores, quota, expected) -> None:
    machine(affinity, cores, quota)
    assert usable_threads() == expected


@given(
    affinity=st.integers(1, 300),
    cores=st.none() | st.integers(1, 300),
    quota=st.floats(0, 400) | st.just(math.inf),
)
def test_it_is_the_most_that_no_bound_forbids(affinity, cores, quota) -> None:
    def allowed(n: int) -> bool:
        within = n <= affinity and (cores is None or n <= cores)
        return within and n - 1 < quota  # the last thread may use part of a CPU

    found = CpuShare(machine=512, allowed=affinity, cores=cores, quota=quota).threads
    assert found == max((n for n in range(1, 301) if allowed(n)), default=1)


@pytest.mark.parametrize(
    "changed", [{"machine": 0}, {"allowed": 0}, {"cores": 0}, {"asked": 0}, {"quota": -1.0}]
)
def test_a_share_of_nothing_is_refused(changed) -> None:
    sound = {"machine": 4, "allowed": 4, "cores": 2, "quota": 1.0}
    with pytest.raises(ValueError, match="no share"):
        CpuShare(**{**sound, **changed})


def test_it_can_be_told_on_this_machine(monkeypatch) -> None:
    monkeypatch.undo()
    share = cpu_share()
    assert 1 <= share.threads <= share.allowed <= share.machine


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_held_to_one_cpu_uses_one_thread(monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("CLIN_EDGE_THREADS", raising=False)
    code = (  # what `taskset` does, from within
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from clin_edge.runtime.threads import usable_threads; print(usable_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"1"]
