"""OMOP NOTE_NLP: exact rows, keys that depend on no other row, lines that any loader takes."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge import __version__
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.writers.omop import HEADER, check_note, note_nlp_id, omop_rows
from strategies import LABELS, apart, texts

BUNDLE = "sha256:3f9a0c12d4e5"
DAY = date(2026, 11, 22)
# OHDSI/CommonDataModel, CDM v5.4, NOTE_NLP, in its order; widths of varchar columns.
COLUMNS = {
    "note_nlp_id": None,
    "note_id": None,
    "section_concept_id": None,
    "snippet": 250,
    "offset": 50,
    "lexical_variant": 250,
    "note_nlp_concept_id": None,
    "note_nlp_source_concept_id": None,
    "nlp_system": 250,
    "nlp_date": None,
    "nlp_datetime": None,
    "term_exists": 1,
    "term_temporal": 50,
    "term_modifiers": 2000,
}


def record(text: str, *entities: Entity, note_id: str = "12", bundle: str = BUNDLE) -> Record:
    return Record(Note(note_id, text), entities, Coverage(len(text), len(text), 1), bundle)


def rows(one: Record) -> list[dict[str, str]]:
    whole = HEADER + omop_rows(one, nlp_date=DAY)
    return list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))


def row(text: str, start: int, end: int, **fields: object) -> dict[str, str]:
    (only,) = rows(record(text, Entity(Span(start, end), "SYMPTOM", **fields)))  # type: ignore[arg-type]
    return only


def test_rows_are_written_to_the_byte() -> None:
    one = record(
        'Denies "chest\r\npain", on metformin.',
        Entity(Span(8, 19), "SYMPTOM", 0.99871, "", "negated"),
        Entity(Span(25, 34), "MEDICATION", 1.0),
    )
    system = f"clin-edge {__version__} {BUNDLE}"
    assert omop_rows(one, nlp_date=DAY) == (
        '8128552634694728500,12,,"Denies ""chest  pain"", on metformin.",8,chest  pain,0,0,'
        f"{system},2026-11-22,,N,,end=19;score=0.9987;assertion=negated;label=SYMPTOM\n"
        '3641018566596815917,12,,"Denies ""chest  pain"", on metformin.",25,metformin,0,0,'
        f"{system},2026-11-22,,,,end=34;score=1.0000;label=MEDICATION\n"
    )


def test_the_header_names_the_columns_of_the_standard_and_quotes_the_reserved_word() -> None:
    assert next(csv.reader([HEADER])) == list(COLUMNS)
    assert ',"offset",' in HEADER
    assert HEADER.endswith("\n")


def test_a_note_without_entities_has_no_row() -> None:
    assert omop_rows(record("nothing here"), nlp_date=DAY) == ""


@pytest.mark.parametrize(
    ("assertion", "exists", "temporal"),
    [
        ("", "", ""),
        ("present", "Y", "present"),
        ("historical", "Y", "past"),
        ("negated", "N", ""),
        ("possible", "N", ""),
        ("hypothetical", "N", ""),
        ("family", "N", ""),
        ("of another rule", "", ""),
    ],
)
def test_what_the_note_claims_is_written_as_the_standard_says(assertion, exists, temporal) -> None:
    found = row("fever", 0, 5, assertion=assertion)
    assert (found["term_exists"], found["term_temporal"]) == (exists, temporal)
    assert (f";assertion={assertion};" in found["term_modifiers"]) == bool(assertion)


@st.composite
def records(draw: st.DrawFn) -> Record:
    text = draw(texts())
    spans = draw(apart(len(text)))
    entities = [
        Entity(span, draw(st.sampled_from(LABELS)), draw(st.floats(0, 1))) for span in spans
    ]
    return record(text, *entities, note_id=str(draw(st.integers(0, 2**63 - 1))))


@given(records())
def test_every_row_is_one_line_fits_its_columns_and_finds_its_entity(one: Record) -> None:
    written = omop_rows(one, nlp_date=DAY)
    lines = written.splitlines(keepends=True)  # at any sign some reader takes for a line's end
    assert len(lines) == len(one.entities)
    assert all(line.endswith("\n") for line in lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)
    for found, entity in zip(rows(one), one.entities, strict=True):
        for name, width in COLUMNS.items():
            assert width is None or len(found[name].encode()) <= width, name
        start = int(found["offset"])
        end = int(found["term_modifiers"].split(";")[0].removeprefix("end="))
        assert Span(start, end) == entity.span
        assert found["term_modifiers"].split("label=", 1)[1] == entity.label
        flat = re.sub(r"[\s\x00-\x1f\x7f-\x9f]", " ", one.note.text)
        cut = "truncated=true" in found["term_modifiers"]
        assert cut == (len(flat[start:end].encode()) > 250)
        assert found["lexical_variant"] == flat[start:end] or cut
        assert flat[start:end].startswith(found["lexical_variant"])
        assert found["lexical_variant"] in found["snippet"]
        assert found["snippet"] in flat
        assert found["note_id"] == one.note.id


def test_a_snippet_is_as_wide_as_it_may_be_and_the_term_in_its_middle() -> None:
    text = "a" * 400 + "fever" + "b" * 400
    assert row(text, 400, 405)["snippet"] == "a" * 122 + "fever" + "b" * 123
    assert row(text, 0, 5)["snippet"] == text[:250]
    assert row(text, 800, 805)["snippet"] == text[-250:]


def test_no_character_is_cut_in_half() -> None:
    text = "é" * 400 + "🙂pain" + "µ" * 400
    found = row(text, 401, 405)["snippet"]
    assert (len(found.encode()) in range(246, 251), found in text) == (True, True)
    long = row("no x" + "é" * 300 + " more", 3, 304)
    assert long["lexical_variant"] == "x" + "é" * 124
    assert long["snippet"] == long["lexical_variant"]
    assert ";truncated=true;" in long["term_modifiers"]


def test_a_label_may_hold_any_sign_and_stands_last() -> None:
    one = record("fever", Entity(Span(0, 5), "A;end=7\r\nB"))
    assert rows(one)[0]["term_modifiers"] == "end=5;score=1.0000;label=A;end=7  B"


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_depends_on_bundle_note_span_and_label_and_on_nothing_else() -> None:
    entity = Entity(Span(3, 5), "ADE", 0.5)
    base = note_nlp_id(record("fever and more", entity), entity)
    same = Entity(Span(3, 5), "ADE", 0.9, "", "negated")
    assert note_nlp_id(record("other words", same, entity), same) == base
    others = {
        note_nlp_id(record("fever", entity, note_id="13"), entity),
        note_nlp_id(record("fever", entity, bundle="sha256:0"), entity),
        *(
            note_nlp_id(record("fever"), Entity(span, label))
            for span, label in ((Span(2, 5), "ADE"), (Span(3, 6), "ADE"), (Span(3, 5), "REASON"))
        ),
    }
    assert len(others | {base}) == 6


def test_keys_fit_a_bigint_and_do_not_meet() -> None:
    one = record("x" * 50_000)
    keys = {note_nlp_id(one, Entity(Span(i, i + 1), "ADE")) for i in range(50_000)}
    assert len(keys) == 50_000
    assert min(keys) >= 0
    assert 2**62 < max(keys) < 2**63


@pytest.mark.parametrize("note_id", ["0", "7", "9223372036854775807"])
def test_whole_numbers_are_note_ids(note_id: str) -> None:
    check_note(Note(note_id, "x"))


@pytest.mark.parametrize(
    "note_id", ["n1", "007", "-1", "1.0", " 1", "1\n", "٣", "9223372036854775808", "1" * 5000]
)
def test_other_ids_are_refused_by_name_in_one_line(note_id: str) -> None:
    said = f"note {note_id!r}: OMOP's note_id is a whole number"
    for refuse in (
        check_note,
        lambda note: omop_rows(record("fever", note_id=note.id), nlp_date=DAY),
    ):
        with pytest.raises(InputError, match=re.escape(said)) as caught:
            refuse(Note(note_id, "fever"))
        assert "\n" not in str(caught.value)


def test_rows_are_the_same_whatever_came_before() -> None:
    """A broken run is continued in the middle: no row may count those before it."""
    some = [record(f"fever {i}", Entity(Span(0, 5), "ADE"), note_id=str(i)) for i in range(5)]
    whole = [omop_rows(one, nlp_date=DAY) for one in some]
    assert [omop_rows(one, nlp_date=DAY) for one in reversed(some)] == whole[::-1]
    assert json.dumps(whole).count("2026-11-22") == 5
