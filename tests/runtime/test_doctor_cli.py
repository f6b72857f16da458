"""``clin-edge doctor``: one screen, exit codes for a scheduler, JSON for monitoring."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from clin_edge.runtime.doctor_cli import doctor
from clin_edge.runtime.machine import BundleFact, EngineFact
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE
from machines import a_machine
from toy import toy_bundle


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    """Nothing set that the command looks at."""
    for name in ("CLIN_EDGE_BUNDLE", "CLIN_EDGE_THREADS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def on(monkeypatch):
    """Let the command find this machine, and give the bundle it was asked for."""
    asked: list[Path | None] = []

    def find(**changes: object) -> list[Path | None]:
        def look_up(bundle: Path | None):
            asked.append(bundle)
            return a_machine(**changes)

        monkeypatch.setattr("clin_edge.runtime.machine.look_up_machine", look_up)
        return asked

    return find


def run(*args: str, colour: bool = False) -> Result:
    result = CliRunner().invoke(doctor, args, color=colour)
    assert result.stderr == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


SCREEN = """\
clin-edge 0.1.0: can this machine do the work?

OK         System        Debian GNU/Linux 12 (bookworm), x86_64
OK         Processor     Some Xeon; 8-bit arithmetic works (AVX2); float is
                         faster here, and is used
OK         CPUs          4 threads will be used (CPUs: 8, cores: 4)
OK         Memory        16.0 GB in all, 9.0 GB free, 0.7 GB wanted
OK         OpenVINO      version 2026.4.1, starts
OK         ONNX Runtime  not installed; this bundle does not use it
OK         Bundle        clin-edge default 1 (sha256:3f9a0c12d4e5), int8; all 5
                         files unaltered, 24.0 MB
                         /opt/clin-edge/model
OK         Network       not used, not needed; engines' usage reports are off

Ready. "clin-edge selftest" shows that its answers are right here.
"""


def test_a_sound_machine_s_screen_is_the_one_in_the_docs(on) -> None:
    on()
    result = run()
    assert (result.stdout, result.exit_code) == (SCREEN, 0)
    page = Path(__file__).resolve().parents[2] / "docs/doctor.md"
    if page.exists():  # beside an installed wheel there are no pages
        assert SCREEN in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"bundle": BundleFact("/b", problem="missing")}, 4),
        ({"engines": (EngineFact("openvino", "missing"),)}, 5),
        ({"memory_bytes": 10**8}, 1),
    ],
)
def test_screen_and_json_end_with_the_same_code(on, changes, code) -> None:
    on(**changes)
    assert run().exit_code == code
    result = run("--json")
    assert result.exit_code == code
    said = json.loads(result.stdout)
    assert (said["exit_code"], said["ready"]) == (code, code == 0)


def test_colour_is_for_terminals_and_for_those_who_want_it(on, monkeypatch) -> None:
    on(memory_bytes=10**8)
    assert "\x1b" not in run().stdout
    assert click.style("OK", fg="green") in run(colour=True).stdout
    assert click.style("ATTENTION", fg="yellow") in run(colour=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run(colour=True).stdout


def test_the_bundle_asked_for_is_the_one_looked_at(on) -> None:
    asked = on()
    run("--bundle", "some/where")
    run()
    assert asked == [Path("some/where"), None]


# --- for real ------------------------------------------------------------------------------------


def test_this_machine_with_the_bundle_in_the_package(monkeypatch) -> None:
    monkeypatch.setattr("clin_edge.runtime.doctor.BASE_BYTES", 0)  # it may be a small machine
    result = run()
    assert result.exit_code == 0, result.stdout
    assert "ATTENTION" not in result.stdout
    assert "files unaltered" in result.stdout


def test_an_altered_bundle_and_an_engine_that_does_not_start_leave_the_screen_whole(
    monkeypatch, tmp_path
) -> None:
    shutil.copytree(DEFAULT_BUNDLE, tmp_path / "b")
    with (tmp_path / "b/tokenizer.json").open("a") as stream:
        stream.write("\n")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/openvino.py").write_text("raise RuntimeError")
    here = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hidden'}{os.pathsep}{here}")
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(tmp_path / "b"))
    monkeypatch.setenv("CLIN_EDGE_THREADS", "Quackenbush")
    result = run()
    assert result.exit_code == 4
    marked = [line.split()[1] for line in result.stdout.splitlines() if "ATTENTION" in line]
    assert marked == ["CPUs", "OpenVINO", "Bundle"]
    assert "tokenizer.json: altered" in result.stdout
    assert result.stdout.splitlines()[2].split()[:2] == ["OK", "System"]
    assert "Quackenbush" not in result.stdout


def test_a_toy_bundle_for_both_engines_is_ready_with_either(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("clin_edge.runtime.doctor.BASE_BYTES", 0)
    bundle = toy_bundle(tmp_path / "b", "openvino", "onnxruntime").path
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = run("--bundle", str(bundle))
    assert result.exit_code == 0, result.stdout
    assert "not installed; not needed, the other engine" in result.stdout
