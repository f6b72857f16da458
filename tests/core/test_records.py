"""Records: the line that leaves the house, letter by letter."""

from __future__ import annotations

import json

from hypothesis import given

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from strategies import labelled

RECORD = Record(
    Note("ward/n1", 'He takes "metformin"\r\nfür 🙂 diabetes'),
    (
        Entity(Span(10, 19), "MEDICATION", 0.99874),
        Entity(Span(22, 27), "DISEASE", 1.0),
        Entity(Span(18, 23), "SYMPTOM", 0.00004),
    ),
    Coverage(36, 36, 2),
    "sha256:3f9a0c12d4e5",
)

WITH_TEXT = (
    '{"id": "ward/n1", "entities": ['
    '{"start": 10, "end": 19, "label": "MEDICATION", "text": "metformin", "score": 0.9987}, '
    '{"start": 22, "end": 27, "label": "DISEASE", "text": "für 🙂", "score": 1.0}, '
    '{"start": 18, "end": 23, "label": "SYMPTOM", "text": "n\\"\\r\\nf", "score": 0.0}], '
    '"coverage": {"chars": 36, "read": 36, "windows": 2}, "bundle": "sha256:3f9a0c12d4e5"}'
)

WITHOUT_TEXT = (
    '{"id": "ward/n1", "entities": ['
    '{"start": 10, "end": 19, "label": "MEDICATION", "score": 0.9987}, '
    '{"start": 22, "end": 27, "label": "DISEASE", "score": 1.0}, '
    '{"start": 18, "end": 23, "label": "SYMPTOM", "score": 0.0}], '
    '"coverage": {"chars": 36, "read": 36, "windows": 2}, "bundle": "sha256:3f9a0c12d4e5"}'
)


def test_a_record_is_one_line_of_json() -> None:
    assert RECORD.to_json() == WITH_TEXT


def test_without_text_no_character_of_the_note_is_in_it() -> None:
    assert RECORD.to_json(with_text=False) == WITHOUT_TEXT


def test_a_note_without_entities_has_its_line_too() -> None:
    assert Record(Note("n", ""), (), Coverage(0, 0, 0), "b").to_json() == (
        '{"id": "n", "entities": [], '
        '"coverage": {"chars": 0, "read": 0, "windows": 0}, "bundle": "b"}'
    )


def test_a_repr_of_a_record_tells_no_text() -> None:
    assert "metformin" not in repr(RECORD)


@given(labelled())
def test_the_text_of_an_entity_is_what_its_offsets_cut_out_of_the_note(item: Labelled) -> None:
    """Whatever the note holds, the line stays one line and can be read back."""
    line = Record(item.note, item.entities, Coverage(0, 0, 0), "b").to_json()
    assert not set(line) & {"\n", "\r"}
    read = json.loads(line.encode())
    assert read["id"] == item.note.id
    assert [e["text"] for e in read["entities"]] == [
        item.note.text[e["start"] : e["end"]] for e in read["entities"]
    ]
    assert [(e["start"], e["end"], e["label"]) for e in read["entities"]] == [
        (e.span.start, e.span.end, e.label) for e in item.entities
    ]
