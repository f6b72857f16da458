"""Runs watched from outside, and energy as Linux tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clin_edge.core.errors import ClinEdgeError
from clin_edge.runtime.bench.process import EnergyMeter, _family, first_record_s, run_extract
from toy import toy_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A toy bundle's place."""
    return str(toy_bundle(tmp_path_factory.mktemp("process") / "b").path)


@pytest.fixture
def note(tmp_path: Path) -> str:
    """A note's place."""
    place = tmp_path / "n.txt"
    place.write_text("patient takes metformin")
    return str(place)


def test_a_whole_run_is_timed_and_weighed(bundle: str, note: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = run_extract([note, "--bundle", bundle, "--threads", "1", "-o", str(out)])
    assert "metformin" in out.read_text()
    assert 0.05 < run.seconds < 60
    assert run.cpu_s is not None
    assert run.cpu_s > 0.05
    assert run.peak_bytes is not None
    assert run.peak_bytes > 20e6


def test_the_first_record_is_waited_for(bundle: str, note: str) -> None:
    assert 0.05 < first_record_s([note, "--bundle", bundle, "--workers", "0"]) < 60


@pytest.mark.parametrize("measure", [run_extract, first_record_s])
def test_a_run_that_fails_is_no_measure(measure, bundle: str, tmp_path: Path) -> None:
    with pytest.raises(ClinEdgeError, match="exit code 3"):
        measure([str(tmp_path / "nowhere.txt"), "--bundle", bundle])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of children here")
def test_children_and_theirs_are_of_the_family() -> None:
    inner = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], "
    inner += "stdin=subprocess.PIPE); print(p.pid, flush=True); input(); p.communicate()"
    command = [sys.executable, "-c", inner]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert {os.getpid(), process.pid, grandchild} <= set(_family(os.getpid()))
        process.communicate("\n")


def package(root: Path, name: str, used: int, limit: int = 1000) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{used}\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    return folder / "energy_uj"


def test_energy_is_added_over_packages_and_over_the_counter_s_end(tmp_path: Path) -> None:
    first = package(tmp_path, "intel-rapl:0", 100)
    second = package(tmp_path, "intel-rapl:1", 900)
    part = package(tmp_path, "intel-rapl:0:0", 5)
    meter = EnergyMeter(tmp_path)
    first.write_text("400")
    second.write_text("50")
    part.write_text("500")
    assert meter.joules() == pytest.approx((300 + 150) / 1e6)


def test_a_machine_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules() is None
    assert EnergyMeter(tmp_path / "nowhere").joules() is None
    place = package(tmp_path, "intel-rapl:0", 100)
    meter = EnergyMeter(tmp_path)
    place.write_text("not a number")
    assert meter.joules() is None
