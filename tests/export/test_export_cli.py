"""``clin-edge export`` and ``clin-edge evaluate`` as a user meets them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import clin_edge.export
from clin_edge.core.bundle import open_bundle
from clin_edge.export.evaluate import evaluate, table
from tiny import Done, cli, write_labelled

RECIPE = """
labels = ["MEDICATION", "DISEASE"]

[[tests]]
name = "invented test"
path = "gold/test.jsonl"

[card]
name = "from the recipe"
version = "9"
encoder = "nobody/tiny"
limits = ["It is a toy."]
"""


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    return partial(cli, monkeypatch, capsys)


def one_line(done: Done, code: int) -> str:
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith("clin-edge: ")
    return done.err.removeprefix("clin-edge: ").rstrip("\n")


# --- export --------------------------------------------------------------------------------------


def test_a_recipe_gives_tests_and_card(run, student_folder, gold, tmp_path: Path) -> None:
    write_labelled(tmp_path / "data" / "gold" / "test.jsonl", gold)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    out = tmp_path / "bundle"
    done = run(
        *("export", student_folder, "-o", out, "--fp32"),
        *("--recipe", tmp_path / "recipe.toml", "--data", tmp_path / "data"),
    )
    assert (done.code, done.out) == (0, "")
    bundle = open_bundle(out)
    assert done.err.splitlines()[-1].startswith(f"{out}: {bundle.id}, ")
    manifest = bundle.manifest
    assert (manifest.name, manifest.version) == ("from the recipe", "9")
    assert (manifest.precision, list(manifest.scores)) == ("fp32", ["invented test"])
    card = bundle.files["MODEL_CARD.md"].decode()
    assert "| invented test | MEDICATION | " in card
    assert "- It is a toy." in card
    assert len(bundle.files["golden.jsonl"].splitlines()) == 14  # the package's sample notes
    # Without --data, paths begin at the recipe; --name overrules its card.
    (tmp_path / "data" / "recipe.toml").write_text(RECIPE)
    recipe = tmp_path / "data" / "recipe.toml"
    done = run("export", student_folder, "-o", out, "--fp32", "--recipe", recipe, "--name", "mine")
    assert done.code == 0, done.err
    assert open_bundle(out).manifest.name == "mine"
    assert open_bundle(out).manifest.scores == manifest.scores


def test_int8_is_the_default_and_stdout_stays_empty(run, student_folder, notes, tmp_path) -> None:
    place = tmp_path / "notes"
    place.mkdir()
    for note in notes[:6]:
        (place / f"{note.id}.txt").write_text(note.text, encoding="utf-8")
    done = run("export", student_folder, "-o", tmp_path / "b", "--calibrate", place)
    assert done.code == 0, done.err
    assert done.out == ""
    manifest = open_bundle(tmp_path / "b").manifest
    assert (manifest.precision, manifest.name) == ("int8", student_folder.name)
    assert manifest.quantization["openvino"]["calibration_windows"] == 6
    assert manifest.gate["engines"]["openvino"]["agreement"]["notes"] == 6
    assert manifest.gate["verdict"] == "not judged"
    assert not any(word in done.err for word in ("metformin", "diabetes"))


def test_what_cannot_be_exported_is_told_in_one_line(run, student_folder, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    absent = tmp_path / "absent"
    message = one_line(run("export", absent, "-o", out), 3)
    assert message.startswith(f"{absent}: not a student folder")
    message = one_line(run("export", student_folder, "-o", out, "--calibrate", absent), 3)
    assert str(absent) in message
    (tmp_path / "recipe.toml").write_text("labls = []")
    message = one_line(
        run("export", student_folder, "-o", out, "--recipe", tmp_path / "recipe.toml"), 3
    )
    assert "did you mean 'labels'" in message
    assert run("export", student_folder).code == 2
    assert run("export", student_folder, "-o", out, "--backend", "tflite").code == 2
    assert run("export", student_folder, "-o", out, "--max-f1-drop", "2").code == 2
    assert not out.exists()


def test_a_foreign_folder_is_not_written_to(run, student_folder, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run("export", student_folder, "-o", tmp_path, "--fp32")
    assert done.code == 3
    assert done.err.splitlines()[-1].startswith(
        f"clin-edge: {tmp_path}: exists and is not a bundle"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_gold_judges_and_layers_can_stay_in_float(
    run, student_folder, gold, tmp_path: Path
) -> None:
    renamed = [
        replace(
            item,
            entities=tuple(replace(e, label=e.label.title()) for e in item.entities),
            marked=frozenset(label.title() for label in item.marked),
        )
        for item in gold
    ]
    path = write_labelled(tmp_path / "dev.jsonl", renamed)
    out = tmp_path / "bundle"
    done = run(
        *("export", student_folder, "-o", out, "--gate", path, "--float-layers", "2"),
        *("--preset", "performance"),
        *("--map", "Medication=MEDICATION", "--map", "Disease=DISEASE"),
    )
    assert done.code == 0, done.err
    manifest = open_bundle(out).manifest
    assert manifest.gate["verdict"] == "passed"
    facts = manifest.gate["engines"]["openvino"][f"gold: {tmp_path.name}/dev.jsonl"]
    assert str(tmp_path.parent) not in manifest.to_json()  # where it lies is nobody's business
    assert facts["labels"]["MEDICATION"]["gold"] > 10
    kept = manifest.quantization["openvino"]["float_layers"]
    assert len(kept) == 2
    assert manifest.quantization["openvino"]["preset"] == "performance"
    assert all(f"in float: {name} " in done.err for name in kept)
    assert manifest.quantization["openvino"]["share_of_numbers_in_8_bits"] < 0.95
    assert done.err.splitlines()[-1].endswith(" MB, passed")


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [("export", "nncf", "export"), ("export", "torch", "export"), ("evaluate", "torch", "train")],
)
def test_a_missing_install_is_named_with_its_cure(
    command, package, extra, run, student_folder, gold, tmp_path: Path, monkeypatch
) -> None:
    for name in ("distill.student", "export.openvino", "export.backends", "export.pack"):
        monkeypatch.delitem(sys.modules, f"clin_edge.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    path = write_labelled(tmp_path / "gold.jsonl", gold)
    args = ["-o", tmp_path / "b"] if command == "export" else [path]
    message = one_line(run(command, student_folder, *args), 5)
    assert message == f"{package} is not installed; run: pip install 'clin-edge[{extra}]'"


def test_onnx_without_its_install_is_told(run, student_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "clin_edge.export.onnx_model", raising=False)
    monkeypatch.delattr(clin_edge.export, "onnx_model", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = run("export", student_folder, "-o", tmp_path / "b", "--fp32", "--backend", "onnx")
    assert done.code == 5
    last = done.err.splitlines()[-1]
    assert last == "clin-edge: onnx is not installed; run: pip install 'clin-edge[export]'"


# --- evaluate ------------------------------------------------------------------------------------


def test_scores_as_json_and_as_a_table(run, fp32, student_folder, gold, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "gold.jsonl", gold)
    expected = evaluate(fp32.bundle.path, gold)
    for what in (fp32.bundle.path, student_folder):
        done = run("evaluate", what, path, "--json")
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out) == {m: s.as_dict() for m, s in expected.items()}
    done = run("evaluate", fp32.bundle.path, path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == table(expected)


def test_labels_of_the_gold_can_be_renamed(run, fp32, gold, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "gold.jsonl", gold)
    done = run(
        *("evaluate", fp32.bundle.path, path, "--json"),
        *("--map", "MEDICATION=Drug", "--map", "DISEASE=DISEASE|SYMPTOM"),
    )
    labels = json.loads(done.out)["strict"]["labels"]
    # The model has no label Drug: it is left out, and that is said.
    assert set(labels) == {"DISEASE|SYMPTOM"}
    assert "no such label: Drug" in done.err
    assert labels["DISEASE|SYMPTOM"]["f1"] > 0.9


def test_what_cannot_be_scored_is_told_in_one_line(run, fp32, gold, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "gold.jsonl", gold)
    some = write_labelled(tmp_path / "some.jsonl", gold[1:])
    assert "has no record of 1 gold notes" in one_line(run("evaluate", some, path), 3)
    assert "not a student folder" in one_line(run("evaluate", tmp_path, path), 3)
    assert "--map" in one_line(run("evaluate", some, path, "--map", "nonsense"), 3)
    assert run("evaluate", tmp_path / "absent", path).code == 2
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, content in {**fp32.bundle.files, "manifest.json": b"{}"}.items():
        (bundle / name).write_bytes(content)
    assert "schema" in one_line(run("evaluate", bundle, path), 4)
