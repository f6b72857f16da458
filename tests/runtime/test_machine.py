"""The facts of a machine, looked up on this one; what is broken is a fact too."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from clin_edge import __version__
from clin_edge.runtime import machine as module
from clin_edge.runtime.machine import (
    BROKEN,
    MISSING,
    READY,
    EngineFact,
    look_up_bundle,
    look_up_machine,
    start_engine,
)
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, FAST_BUNDLE
from toy import toy_bundle


def test_this_machine_can_be_looked_up_without_a_user_s_name_or_a_setting_s_value(
    monkeypatch, tmp_path
) -> None:
    bundle = toy_bundle(tmp_path / "b", "openvino", "onnxruntime")
    monkeypatch.setenv("CLIN_EDGE_THREADS", "Quackenbush")
    monkeypatch.setenv("USER", "Quackenbush")
    found = look_up_machine(bundle.path)
    assert found.clin_edge == __version__
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert [engine.name for engine in found.engines] == ["openvino", "onnxruntime"]
    assert all(e.state == READY and e.version[0].isdigit() for e in found.engines)
    assert found.bundle.verified
    assert (found.bundle.id, found.bundle.engines) == (bundle.id, bundle.manifest.engines)
    assert found.cpus.threads <= found.cpus.allowed
    assert found.reports_off
    assert found.threads_problem
    assert "Quackenbush" not in repr(found)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_engine_that_is_not_installed_is_missing(monkeypatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert start_engine(name) == EngineFact(name, MISSING)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert start_engine(name) == EngineFact(name, MISSING)


@pytest.mark.parametrize(
    "program",
    [
        "import no_such_module",
        "raise RuntimeError",
        "import os; os.abort()",  # an instruction the processor does not know ends so
        "import time; time.sleep(60)",
    ],
)
def test_an_engine_that_does_not_start_is_broken(monkeypatch, program: str) -> None:
    monkeypatch.setattr(module, "_START_LIMIT_S", 0.5)
    started = time.monotonic()
    assert start_engine("openvino", ("-c", program)) == EngineFact("openvino", BROKEN)
    assert time.monotonic() - started < 10


def test_an_engine_hidden_by_a_broken_one_is_broken(monkeypatch, tmp_path) -> None:
    (tmp_path / "onnxruntime.py").write_text("import no_such_module\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert start_engine("onnxruntime").state == BROKEN


def test_a_file_of_the_same_name_in_the_current_folder_is_no_engine(monkeypatch, tmp_path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    assert start_engine("onnxruntime").state == READY


def test_no_python_to_start_it_with_is_broken(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "none"))
    assert start_engine("openvino").state == BROKEN


@pytest.mark.parametrize(("name", "state"), [("torch", READY), ("openvino", "fine")])
def test_another_engine_or_state_is_refused(name: str, state: str) -> None:
    with pytest.raises(ValueError, match="no engine's state"):
        EngineFact(name, state)


def test_a_bundle_is_found_by_argument_environment_or_package(monkeypatch, tmp_path) -> None:
    one, two = (toy_bundle(tmp_path / name).path for name in ("one", "two"))
    monkeypatch.delenv("CLIN_EDGE_BUNDLE", raising=False)
    assert look_up_bundle().path == str(DEFAULT_BUNDLE)
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(one))
    assert look_up_bundle().path == str(one)
    assert look_up_bundle(two).path == str(two)
    assert look_up_bundle("fast").path == str(FAST_BUNDLE)


def test_a_bundle_that_is_refused_says_why_without_its_path(tmp_path) -> None:
    path = toy_bundle(tmp_path / "b").path
    (path / "tokenizer.json").write_text("{}")
    fact = look_up_bundle(path)
    assert not fact.verified
    assert fact.problem == "tokenizer.json: altered, its content is not what the manifest lists"
    assert look_up_bundle(tmp_path / "none").problem.startswith("no such bundle")
    assert look_up_bundle(f"{tmp_path}/none/").path == str(Path(tmp_path, "none"))


def test_an_installation_that_is_not_whole_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "clin_edge.runtime.pipeline", None)
    assert look_up_bundle(tmp_path).problem == "cannot be checked; install clin-edge again"


def test_reports_that_are_not_off_are_a_fact(monkeypatch) -> None:
    assert module._reports_off()
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert not module._reports_off()
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", sys)
    assert not module._reports_off()
    monkeypatch.delitem(sys.modules, "openvino_telemetry")
    assert not module._reports_off()
