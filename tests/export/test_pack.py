"""A bundle holds what it should, opens in the runtime, and says how near it is to the float."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.bundle import open_bundle
from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.errors import BundleError, InputError
from clin_edge.core.labelled import read_predictions
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.config import Card
from clin_edge.distill.student import TorchSession
from clin_edge.export import pack as packing
from clin_edge.export.evaluate import find_with
from clin_edge.export.openvino import to_openvino
from clin_edge.export.pack import Agreement, compare, pack
from clin_edge.runtime.pipeline import Pipeline
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
    said = dict(int8.bundle.manifest.quantization)
    assert said.pop("share_of_numbers_in_8_bits") > 0.9
    assert said == {
        "tool": "nncf",
        "model_type": "transformer",
        "preset": "mixed",
        "overflow_fix": "enable",
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
    assert fp32.bundle.manifest.gate["jaccard"] == 1.0


@BOTH
def test_the_gate_holds_what_a_comparison_gives(which, request, student, notes) -> None:
    packed = request.getfixturevalue(which)
    ours = Pipeline.from_bundle(packed.bundle.path, threads=1).predictor
    agreement = compare(float_predictor(student), ours, notes)
    gate = dict(packed.bundle.manifest.gate)
    assert "nothing was refused" in gate.pop("kind")
    assert gate == {
        "notes": len(notes),
        "spans_shared": agreement.shared,
        "spans_only_float": agreement.only_float,
        "spans_only_bundle": agreement.only_bundle,
        "jaccard": round(agreement.jaccard, 4),
    }
    assert agreement.jaccard > 0.9
    assert f"spans shared with the float model: {agreement.jaccard:.4f}" in packed.said


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
    monkeypatch.setattr(packing, "to_openvino", lambda _: converted(student))


@cache
def converted(student):
    return to_openvino(student)


def quick(student, out: Path, **changes):
    usual = {"calibration": [], "golden": [], "tests": {}, "card": Card(), "precision": "fp32"}
    return pack(student, out, **{**usual, **changes})


@pytest.mark.usefixtures("converted_before")
def test_a_bundle_is_replaced_and_compared_on_the_first_notes_only(
    student, notes, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "deep" / "bundle"
    first = quick(student, out)
    assert first.manifest.gate["notes"] == 0
    assert first.manifest.gate["jaccard"] == 1.0
    assert first.files["golden.jsonl"] == b""
    monkeypatch.setattr(packing, "N_COMPARED", 4)
    second = quick(student, out, calibration=notes)
    assert second.manifest.gate["notes"] == 4
    assert open_bundle(out).id == second.id != first.id
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


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
    bundle = quick(with_crf, tmp_path / "bundle", calibration=notes, golden=notes[-3:])
    assert bundle.files[CRF_FILE] == tables.to_npz()
    assert bundle.manifest.gate["jaccard"] == 1.0
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

    monkeypatch.setattr(Pipeline, "from_bundle", refuse)
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


# --- comparing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "only_float", "only_bundle", "jaccard"),
    [(0, 0, 0, 1.0), (3, 1, 0, 0.75), (3, 0, 1, 0.75), (0, 1, 2, 0.0), (5, 0, 0, 1.0)],
)
def test_jaccard_is_the_shared_share_of_all(shared, only_float, only_bundle, jaccard) -> None:
    assert Agreement(9, shared, only_float, only_bundle).jaccard == jaccard


class Says:
    """Stands for a predictor: reads the entities it was given, note by note."""

    def __init__(self, entities: list[list[Entity]]) -> None:
        self.entities = entities

    def read(self, notes):
        for note, entities in zip(notes, self.entities, strict=True):
            yield SimpleNamespace(note=note, entities=entities)


ENTITIES = st.builds(
    Entity,
    st.builds(Span, st.integers(0, 2), st.integers(3, 4)),
    st.sampled_from(["A", "B"]),
    st.floats(0, 1),
)
SAID = st.lists(st.tuples(*[st.lists(ENTITIES, max_size=4)] * 2), max_size=4)


@given(SAID)
def test_spans_count_with_their_labels_and_without_their_scores(said) -> None:
    notes = [Note(f"n{i}", "text") for i in range(len(said))]
    agreement = compare(Says([a for a, _ in said]), Says([b for _, b in said]), notes)

    def keys(side: int) -> set[tuple[int, Span, str]]:
        return {(i, e.span, e.label) for i, both in enumerate(said) for e in both[side]}

    assert agreement == Agreement(
        len(notes), len(keys(0) & keys(1)), len(keys(0) - keys(1)), len(keys(1) - keys(0))
    )


def test_predictors_that_read_other_notes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="argument"):
        compare(Says([[], []]), Says([[]]), [Note("n", "x"), Note("m", "y")])
