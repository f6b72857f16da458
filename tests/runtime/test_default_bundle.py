"""The model in the box: what it promises, on the sample notes that come with it."""

from __future__ import annotations

import json

import pytest

from clin_edge.core.bundle import open_bundle
from clin_edge.core.notes import Note, read_notes
from clin_edge.runtime.demo import SAMPLES, check_offsets, run_demo
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, Pipeline
from packed import check_claims

MAX_MB = 30
# Every label but REASON and ADE.
LABELS = (
    *("MEDICATION", "DISEASE", "SYMPTOM"),
    *("STRENGTH", "FORM", "DOSAGE", "ROUTE", "FREQUENCY", "DURATION"),
)
FLOORS = {"MEDICATION": 0.89, "DISEASE|SYMPTOM": 0.81}


@pytest.fixture(scope="module")
def notes() -> list[Note]:
    return list(read_notes([str(SAMPLES)]))


@pytest.fixture(scope="module")
def lines(notes) -> list[str]:
    return records_of(notes)


def records_of(notes, **options) -> list[str]:
    pipeline = Pipeline.from_bundle(DEFAULT_BUNDLE, **options)
    return [record.to_json() for record in pipeline.records(notes)]


def test_it_verifies_is_small_and_states_scores_above_the_floor() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE, allow_hard_links=True)
    check_claims(bundle, max_mb=MAX_MB, floors=FLOORS)
    assert bundle.manifest.scheme.types == LABELS


@pytest.mark.parametrize(
    "options",
    [{"threads": 1}, {"threads": 2}, {"batch_tokens": 256}, {"batch_tokens": 20_000}],
    ids=str,
)
def test_records_are_the_same_to_the_byte_whatever_the_batch_and_threads(
    notes, lines, options
) -> None:
    assert records_of(notes, **options) == lines


def test_records_are_the_same_in_any_order_and_company(notes, lines) -> None:
    assert records_of(notes[::-1]) == lines[::-1]
    assert records_of(notes[4:5]) == lines[4:5]


def test_it_reads_every_character_and_finds_what_a_reader_would(notes, lines) -> None:
    for note, line in zip(notes, lines, strict=True):
        assert json.loads(line)["coverage"]["read"] == len(note.text)
    found = {
        (entity["label"], entity["text"].lower())
        for line in lines
        for entity in json.loads(line)["entities"]
    }
    wanted = {"metformin", "furosemide", "levetiracetam", "docetaxel", "lisinopril", "apixaban"}
    assert {("MEDICATION", name) for name in wanted} <= found
    assert {label for label, _ in found} == set(LABELS)


def test_it_agrees_with_the_float_model_on_its_golden_notes() -> None:
    pipeline = Pipeline.from_bundle(DEFAULT_BUNDLE)
    golden = [json.loads(line) for line in pipeline.bundle.files["golden.jsonl"].splitlines()]
    shared = union = 0
    notes = [Note(line["id"], line["text"]) for line in golden]
    for line, (_, entities) in zip(golden, pipeline.annotate(notes), strict=True):
        ours = {(e.span.start, e.span.end, e.label) for e in entities}
        floats = {(e["start"], e["end"], e["label"]) for e in line["entities"]}
        shared, union = shared + len(ours & floats), union + len(ours | floats)
    assert shared / union >= 0.85


def test_the_demo_shows_every_note_and_checks_every_offset(tmp_path, notes) -> None:
    shown: list[str] = []
    out = tmp_path / "records.jsonl"
    run_demo(out, bundle=DEFAULT_BUNDLE, threads=None, show=shown.append)
    text = "\n".join(shown)
    assert all(note.id in text for note in notes)
    assert check_offsets(out, {note.id: note.text for note in notes}) > 300
    assert "words a second" in text
