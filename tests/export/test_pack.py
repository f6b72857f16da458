"""A bundle holds what it should, opens in the runtime, and says how near it is to the float."""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from clin_edge.core.bundle import open_bundle
from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.errors import BundleError, GateError, InputError
from clin_edge.core.labelled import read_predictions
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.distill.config import Card
from clin_edge.distill.student import TorchSession
from clin_edge.export import backends
from clin_edge.export import pack as packing
from clin_edge.export.backends import OPENVINO
from clin_edge.export.evaluate import find_with
from clin_edge.export.openvino import to_openvino
from clin_edge.export.pack import Order, pack
from clin_edge.runtime.pipeline import Pipeline
from clin_edge.runtime.selftest import check_golden
from tiny import MAX_TOKENS, OVERLAP, either, tiny_student

BOTH = pytest.mark.parametrize("which", ["int8", "fp32"])


def float_predictor(student) -> Predictor:
    return Predictor(student.encoder, student.scheme, TorchSession(student.model))


# --- what is in a bundle -------------------------------------------------------------------------


@BOTH
def test_a_bundle_opens_and_names_what_it_is(which, request, student) -> None:
    packed = request.getfixturevalue(which)
    bundle = open_bundle(packed.bundle.path)
    assert bundle.id == packed.bundle.id
    assert set(bundle.files) == {
        "MODEL_CARD.md",
        "golden.jsonl",
        "model.bin",
        "model.xml",
        "tokenizer.json",
    }
    manifest = bundle.manifest
    assert (manifest.name, manifest.version, manifest.precision) == ("invented", "7", which)
    assert (manifest.scheme, manifest.engines) == (student.scheme, ("openvino",))
    assert (manifest.max_tokens, manifest.overlap) == (MAX_TOKENS, OVERLAP)
    assert bundle.files["tokenizer.json"] == student.tokenizer_json
    assert manifest.sources == (
        {"name": "nobody/tiny", "licence": "MIT"},
        {"name": "invented train", "licence": "CC0"},
        {"name": "invented/more.jsonl", "licence": ""},
    )
    assert set(manifest.made_with) >= {"clin-edge", "python", "openvino", "nncf", "torch"}


def test_how_it_was_quantised_is_told(int8, fp32, notes, student) -> None:
    n_windows = sum(len(student.encoder.encode(note).windows) for note in notes)
    said = dict(int8.bundle.manifest.quantization["openvino"])
    assert said.pop("share_of_numbers_in_8_bits") > 0.9
    assert said == {
        "tool": "nncf",
        "model_type": "transformer",
        "preset": "mixed",
        "overflow_fix": "enable",
        "smooth_quant": 0.8,
        "float_layers": [],
        "calibration_notes": len(notes),
        "calibration_windows": n_windows,
    }
    assert fp32.bundle.manifest.quantization == {}
    line = f"quantising to INT8 on {n_windows} windows of {len(notes)} notes"
    assert line in int8.said
    assert not any("INT8" in line for line in fp32.said)


@BOTH
def test_golden_notes_bear_what_the_float_model_finds(which, request, student, notes) -> None:
    packed = request.getfixturevalue(which)
    lines = packed.bundle.files["golden.jsonl"].decode().splitlines()
    readings = list(float_predictor(student).read(notes[-3:]))
    assert [json.loads(line) for line in lines] == [
        {
            "id": reading.note.id,
            "text": reading.note.text,
            "entities": [
                {
                    "start": e.span.start,
                    "end": e.span.end,
                    "label": e.label,
                    "score": round(e.score, 4),
                }
                for e in reading.entities
            ],
        }
        for reading in readings
    ]
    assert sum(len(reading.entities) for reading in readings) > 10
    found = read_predictions(packed.bundle.path / "golden.jsonl")
    assert set(found) == {note.id for note in notes[-3:]}


def test_a_float_bundle_finds_exactly_what_torch_finds(fp32, student, notes) -> None:
    pipeline = Pipeline.from_bundle(fp32.bundle.path, threads=1)
    theirs = list(float_predictor(student).read(notes))
    ours = list(pipeline.predictor.read(notes))
    for a, b in zip(theirs, ours, strict=True):
        assert [(e.span, e.label) for e in a.entities] == [(e.span, e.label) for e in b.entities]
        assert [e.score for e in a.entities] == pytest.approx(
            [e.score for e in b.entities], abs=1e-4
        )
        assert a.coverage == b.coverage
    assert sum(len(reading.entities) for reading in theirs) > 100
    checks = fp32.bundle.manifest.gate["engines"]["openvino"]
    assert checks["agreement"]["f1"] == 1.0
    assert checks["float_parity"]["spans_changed"] == 0


@BOTH
def test_the_gate_holds_what_a_comparison_gives(which, request, student, notes) -> None:
    packed = request.getfixturevalue(which)
    ours = Pipeline.from_bundle(packed.bundle.path, threads=1).predictor
    facts = packed.bundle.manifest.gate
    assert facts["verdict"] == ("passed" if which == "fp32" else "not judged")
    assert (facts["gold_used"], facts["refusals"]) == (False, [])
    theirs, mine = (found_in(predictor, notes) for predictor in (float_predictor(student), ours))
    said = facts["engines"]["openvino"]["agreement"]
    assert said["notes"] == len(notes)
    assert said["spans_shared"] == len(theirs & mine)
    assert said["spans_only_float"] == len(theirs - mine)
    assert said["spans_only_bundle"] == len(mine - theirs)
    assert said["f1"] > 0.95
    assert facts["golden_agreement"] == check_golden(packed.bundle, ours).agreement
    assert facts["engines"]["openvino"]["invariance"]["max_logit_change"] <= 1e-4
    assert any(line.startswith("openvino: agreement with float ") for line in packed.said)


def found_in(predictor: Predictor, notes) -> set:
    return {(r.note.id, e.span, e.label) for r in predictor.read(notes) for e in r.entities}


@BOTH
def test_scores_are_those_of_the_float_and_of_the_bundle(which, request, student, gold) -> None:
    packed = request.getfixturevalue(which)
    ours = Pipeline.from_bundle(packed.bundle.path, threads=1).predictor
    expected = {
        name: {
            "float": score(items, find_with(float_predictor(student), items)).as_dict(),
            which: score(items, find_with(ours, items)).as_dict(),
        }
        for name, items in (("gold set", gold), ("either set", either(gold)))
    }
    assert packed.bundle.manifest.scores == expected
    assert expected["gold set"][which]["micro"]["f1"] > 0.9
    assert set(expected["either set"][which]["labels"]) == {"MEDICATION|DISEASE"}
    assert any(line.startswith("gold set: DISEASE ") for line in packed.said)


@BOTH
def test_nothing_that_is_said_quotes_a_note(which, request) -> None:
    said = request.getfixturevalue(which).said
    assert not any(word in line for line in said for word in ("metformin", "diabetes", "patient"))


# --- writing -------------------------------------------------------------------------------------


@pytest.fixture
def converted_before(student, monkeypatch) -> None:
    """Converting takes a second, and gives the same each time."""
    quick_one = dataclasses.replace(OPENVINO, convert=lambda _: converted(student))
    monkeypatch.setattr(backends, "OPENVINO", quick_one)


@cache
def converted(student):
    return to_openvino(student)


GOLDEN = (Note("g", "no fever"),)


def quick(student, out: Path, **changes):
    usual = {"calibration": [], "golden": GOLDEN, "card": Card(), "precision": "fp32"}
    return pack(student, out, Order(**{**usual, **changes}))


@pytest.mark.usefixtures("converted_before")
def test_a_bundle_is_replaced(student, notes, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bundle"
    first = quick(student, out)
    assert [json.loads(line)["id"] for line in first.files["golden.jsonl"].splitlines()] == ["g"]
    second = quick(student, out, compared=notes[:4])
    assert second.manifest.gate["engines"]["openvino"]["agreement"]["notes"] == 4
    assert open_bundle(out).id == second.id != first.id
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_the_same_order_gives_the_same_bytes(student, int8, int8_order, tmp_path: Path) -> None:
    again = pack(student, tmp_path / "b", int8_order)
    assert again.files == int8.bundle.files
    assert again.id == int8.bundle.id


def test_a_bundle_without_golden_notes_cannot_be_ordered() -> None:
    with pytest.raises(ValueError, match="golden"):
        Order(precision="fp32", calibration=[], golden=[], card=Card())


@pytest.mark.usefixtures("converted_before")
@pytest.mark.parametrize("rules", [(False, True), (True, False)])
def test_a_crf_travels_with_its_model_and_finds_what_it_found_in_torch(
    student, notes, tmp_path: Path, rules
) -> None:
    rng = np.random.default_rng(2)
    n_tags = len(student.scheme.tags)
    shapes = ((n_tags, n_tags), (n_tags,), (n_tags,))
    tables = CrfTables(*(rng.normal(0, 2, s).astype(np.float32) for s in shapes), *rules)
    with_crf = dataclasses.replace(student, crf=tables)
    bundle = quick(with_crf, tmp_path / "bundle", golden=notes[-3:])
    assert bundle.files[CRF_FILE] == tables.to_npz()
    assert bundle.manifest.gate["engines"]["openvino"]["float_parity"]["spans_changed"] == 0
    theirs = list(with_crf.predictor.read(notes))
    ours = list(Pipeline.from_bundle(bundle.path, threads=1).predictor.read(notes))
    for a, b in zip(theirs, ours, strict=True):
        assert [(e.span, e.label) for e in a.entities] == [(e.span, e.label) for e in b.entities]
        scores = [e.score for e in b.entities]
        assert [e.score for e in a.entities] == pytest.approx(scores, abs=1e-4)
    linear = [r.entities for r in float_predictor(student).read(notes)]
    assert sum(map(len, linear)) > 100
    assert linear != [r.entities for r in theirs]


@pytest.mark.usefixtures("converted_before")
def test_a_folder_that_is_no_bundle_is_left_alone(student, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        quick(student, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("converted_before")
def test_what_the_runtime_refuses_is_not_written(student, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BundleError("no")

    monkeypatch.setattr(packing, "open_session", refuse)
    with pytest.raises(BundleError):
        quick(student, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converted_before")
@pytest.mark.parametrize("calibration", [[], [Note("n", ""), Note("m", " \n")]])
def test_int8_without_a_window_to_calibrate_on_is_refused(calibration, student, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        quick(student, tmp_path / "bundle", precision="int8", calibration=calibration)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_student_of_unknown_origin_can_be_packed(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "encoder", "distilbert")
    assert student.facts == {}
    bundle = quick(student, tmp_path / "bundle", golden=[Note("n", "no fever")])
    assert bundle.manifest.name == "student"
    card = bundle.files["MODEL_CARD.md"].decode()
    assert "How it was trained is not recorded." in card
    assert "\n- \n" not in card  # a source without a name


def test_an_unpacked_student_still_names_what_its_bundle_was_learnt_from(tmp_path: Path) -> None:
    before = [{"name": "nobody/tiny", "licence": "MIT"}, {"name": "theirs", "licence": "CC0"}]
    facts = {"unpacked_from": "sha256:0123", "learnt_from": before}
    student = dataclasses.replace(tiny_student(tmp_path / "encoder"), facts=facts)
    card = Card(encoder="nobody/tiny", encoder_licence="MIT", also=("more",))
    bundle = quick(student, tmp_path / "bundle", golden=[Note("n", "no fever")], card=card)
    assert bundle.manifest.sources == (*before, {"name": "more", "licence": ""})
    assert b"those of the bundle sha256:0123, unpacked." in bundle.files["MODEL_CARD.md"]


# --- gates ---------------------------------------------------------------------------------------


def spoilt(student, by: float):
    """A backend whose INT8 model gives logits that are off by noise, the same at each run."""

    def quantize(*_: object) -> object:
        model = copy.deepcopy(student.model)
        torch.manual_seed(0)
        weight = model.classifier.weight
        weight.data += by * weight.data.std() * torch.randn_like(weight)
        return to_openvino(dataclasses.replace(student, model=model))

    return dataclasses.replace(OPENVINO, quantize=quantize, convert=lambda _: converted(student))


@pytest.mark.parametrize("judge", ["gold", "agreement"])
def test_a_gate_that_says_no_writes_nothing_but_by_force(
    judge, student, notes, gold, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(backends, "OPENVINO", spoilt(student, 3.0))
    out = tmp_path / "bundle"
    many = [dataclasses.replace(n, id=f"{n.id}-{i}") for i in range(8) for n in notes[:-1]]
    how = {"gold": {"dev": gold}} if judge == "gold" else {"compared": many}
    usual = {"precision": "int8", "calibration": notes, "golden": notes[:3], **how}
    with pytest.raises(GateError) as caught:
        quick(student, out, **usual)
    assert "\n" not in str(caught.value)
    assert str(out) in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    bundle = quick(student, out, force=True, **usual)
    facts = bundle.manifest.gate
    assert facts["verdict"] == "refused"
    assert facts["gold_used"] == (judge == "gold")
    assert any(("dev" if judge == "gold" else "needs 0.99") in line for line in facts["refusals"])
    card = bundle.files["MODEL_CARD.md"].decode()
    assert "**refused**" in card
    assert all(f"- {line}" in card for line in facts["refusals"])


def test_an_unfaithful_conversion_is_refused(student, tmp_path: Path, monkeypatch) -> None:
    broken = spoilt(student, 3.0)
    broken = dataclasses.replace(broken, convert=broken.quantize)
    monkeypatch.setattr(backends, "OPENVINO", broken)
    said: list[str] = []
    order = Order(precision="fp32", calibration=[], golden=GOLDEN, card=Card())
    with pytest.raises(GateError):
        pack(student, tmp_path / "b", order, say=said.append)
    assert any("was not converted faithfully" in line for line in said)


def test_gold_of_other_labels_cannot_judge(student, gold, tmp_path: Path) -> None:
    foreign = [dataclasses.replace(item, entities=(), marked=frozenset({"GENE"})) for item in gold]
    with pytest.raises(InputError, match="dev: marks none"):
        quick(student, tmp_path / "b", precision="int8", gold={"dev": foreign})
