"""``clin-edge selftest``: one screen, exit codes for a scheduler, JSON for monitoring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clin_edge.core.batching import Session
from clin_edge.core.errors import BundleError, GateError, MissingInstallError
from clin_edge.runtime.pipeline import open_default_or
from clin_edge.runtime.selftest_cli import selftest
from saturating import NOTES, ToyNumpy, golden
from toy import toy_bundle, toy_onnx

BOTH = ("openvino", "onnxruntime")
PYTHON_WORDS = ("Error(", "Traceback", "None", "True", "False", "logit", "bundle=", "Invariance")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for both engines that is right."""
    files = {"golden.jsonl": golden(ToyNumpy())}
    return toy_bundle(tmp_path_factory.mktemp("cli") / "good", *BOTH, files=files).path


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose golden notes say something else."""
    files = {"golden.jsonl": golden(ToyNumpy()).replace(b"DISEASE", b"SYMPTOM")}
    return toy_bundle(tmp_path_factory.mktemp("cli") / "wrong", files=files).path


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model for onnxruntime is quantised anew for every batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = tmp_path_factory.mktemp("cli")
    plain, made = folder / "plain.onnx", folder / "dynamic.onnx"
    plain.write_bytes(toy_onnx()["model.onnx"])
    quantize_dynamic(plain, made, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    files = {"model.onnx": made.read_bytes(), "golden.jsonl": golden(ToyNumpy())}
    return toy_bundle(folder / "b", *BOTH, files=files, precision="int8").path


def run(*args: object) -> Result:
    return CliRunner().invoke(selftest, list(map(str, args)))


def test_a_right_bundle_passes_with_one_screen(good: Path) -> None:
    done = run(good)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    n = sum(len(json.loads(line)["entities"]) for line in golden(ToyNumpy()).splitlines())
    assert lines[0] == f"Bundle  toy 1 ({open_default_or(good).id}), fp32"
    assert [line for line in lines if line.startswith("Engine")] == [
        "Engine  OpenVINO",
        "Engine  ONNX Runtime",
    ]
    right = f"    ok  Right answers: {n} of {n} in {len(NOTES)} notes, 0 others; agreement 1.000"
    assert lines.count(f"{right}, needs 0.900") == 2
    assert lines.count("    ok  Same answers in reverse order") == 2
    assert lines[-1] == "Result  This machine reads notes rightly with this bundle."
    assert len(lines) <= 24
    assert all(len(line) <= 100 for line in lines)
    assert not any(word in done.output for word in (*PYTHON_WORDS, "FAILED"))


def test_without_a_bundle_it_is_the_default_one(good: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(good))
    assert open_default_or(good).id in run("--engine", "openvino").output


def test_one_engine_may_be_chosen(good: Path) -> None:
    done = run(good, "--engine", "onnxruntime")
    assert "ONNX Runtime" in done.output
    assert "OpenVINO" not in done.output


def test_wrong_answers_end_with_7_and_say_what_to_do(wrong: Path) -> None:
    done = run(wrong)
    assert isinstance(done.exception, GateError)
    assert done.exception.exit_code == 7
    said = str(done.exception)
    assert said.startswith(
        f"{wrong}: do not use this bundle on this machine; its answers are wrong"
    )
    assert "--fp32" in said
    assert "overflow fix" in said
    assert "--engine" not in said
    assert "\n" not in said
    assert "FAILED  Right answers" in done.output
    assert "    ok  Same answers in reverse order" in done.output
    assert done.output.endswith("This machine does NOT read notes rightly with this bundle.\n")
    assert not any(word in done.output + said for word in PYTHON_WORDS)


def test_answers_that_change_end_with_7_and_name_the_engine_that_passed(dynamic: Path) -> None:
    done = run(dynamic)
    assert isinstance(done.exception, GateError)
    said = str(done.exception)
    assert "an answer changes with what else is read" in said
    assert said.endswith("or use --engine openvino, which passed")
    failed = [line for line in done.output.splitlines() if line.startswith("FAILED")]
    assert failed
    assert all("limit 0.0001" in line for line in failed)
    assert run(dynamic, "--engine", "openvino").exit_code == 0


def test_a_network_without_numbers_ends_with_7(good: Path, monkeypatch) -> None:
    from clin_edge.runtime import selftest as module

    class Broken(Session):
        def run(self, batch):
            return ToyNumpy().run(batch) * float("nan")

    monkeypatch.setattr(module, "open_session", lambda *_, **__: Broken())
    done = run(good, "--engine", "openvino")
    assert isinstance(done.exception, GateError)
    assert "gives no usable answer here" in str(done.exception)
    assert "FAILED  It stopped: note 'n0'" in done.output


def test_json_holds_every_verdict_and_its_figures(good: Path, wrong: Path) -> None:
    report = json.loads(run(good, "--json").output)
    assert set(report) == {"passed", "bundle", "engines", "not_tried"}
    assert (report["passed"], report["not_tried"]) == (True, {})
    first, second = report["engines"]
    assert (first["engine"], second["engine"]) == BOTH
    assert first["golden"]["agreement"] == 1
    assert first["golden"]["needed"] == 0.9
    assert first["invariance"]["passed"]
    assert {"passed", "what", "max_logit_change", "spans_changed", "records_changed"} == set(
        first["invariance"]["changes"][0]
    )
    done = run(wrong, "--json")
    assert isinstance(done.exception, GateError)
    report = json.loads(done.output)
    assert not report["passed"]
    assert not report["engines"][0]["golden"]["passed"]


def test_no_note_is_quoted(wrong: Path) -> None:
    done = run(wrong)
    for said in (done.output, run(wrong, "--json").output, str(done.exception)):
        assert not any(word in said for word in ("metformin", "headache", "patient"))


def test_a_bad_bundle_ends_with_4(tmp_path: Path) -> None:
    for place in (tmp_path / "none", toy_bundle(tmp_path / "b").path):
        done = run(place)
        assert isinstance(done.exception, BundleError)
        assert done.exception.exit_code == 4


def test_a_missing_engine_ends_with_5_or_is_said(good: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "clin_edge.runtime.ort", raising=False)
    done = run(good, "--engine", "onnxruntime")
    assert isinstance(done.exception, MissingInstallError)
    assert done.exception.exit_code == 5
    done = run(good)
    assert done.exit_code == 0
    assert "Engine  ONNX Runtime: not tried; " in done.output


def test_help_has_an_example() -> None:
    assert "clin-edge selftest ./bundle" in run("--help").output
