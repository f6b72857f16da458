"""Labelled notes: written and read back, brat's ways, renames, what is marked, every refusal."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import (
    Labelled,
    brat_lines,
    labelled_json,
    parse_map,
    read_labelled,
    read_predictions,
)
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from labelled_files import brat, found, jsonl, row
from strategies import labelled, texts

# --- JSONL ---------------------------------------------------------------------------------------


@given(st.lists(labelled(), min_size=1, max_size=4, unique_by=lambda item: item.note.id))
def test_labelled_notes_are_read_back_as_they_were_written(items: list[Labelled]) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "silver.jsonl")
        path.write_bytes("".join(labelled_json(item) + "\n" for item in items).encode())
        assert read_labelled(path) == items
        assert {i: tuple(found) for i, found in read_predictions(path).items()} == {
            item.note.id: item.entities for item in items
        }


def test_a_labelled_note_is_one_line_of_json() -> None:
    entities = (Entity(Span(0, 7), "MEDICATION", source="rxnorm:900001"), Entity(Span(8, 9), "A|B"))
    item = Labelled(Note("n/1", "aspirin é\r\n"), entities, frozenset({"MEDICATION", "A|B"}))
    assert labelled_json(item) == (
        '{"id": "n/1", "text": "aspirin é\\r\\n", "entities": ['
        '{"start": 0, "end": 7, "label": "MEDICATION", "source": "rxnorm:900001"}, '
        '{"start": 8, "end": 9, "label": "A|B"}], "marked": ["A|B", "MEDICATION"]}'
    )
    assert "aspirin" not in repr(item)


def test_a_note_may_have_no_entities_and_scores_and_sources_are_read(tmp_path: Path) -> None:
    scored = {"start": 0, "end": 4, "label": "A", "score": 0.25, "source": "who"}
    path = jsonl(
        tmp_path / "a.jsonl", {"id": "1", "text": ""}, row("2", "pain") | {"entities": [scored]}
    )
    none, one = read_labelled(path)
    assert none.entities == ()
    assert one.entities == (Entity(Span(0, 4), "A", 0.25, "who"),)


def test_a_score_below_one_is_written_in_four_decimals(tmp_path: Path) -> None:
    entities = (Entity(Span(0, 4), "A", 2 / 3, "a:1+b"), Entity(Span(5, 6), "A", 1.0))
    line = labelled_json(Labelled(Note("n", "pain x"), entities, frozenset("A")))
    assert line.count("score") == 1
    (tmp_path / "a.jsonl").write_text(line)
    (read,) = read_labelled(tmp_path / "a.jsonl")
    assert read.entities == (Entity(Span(0, 4), "A", 0.6667, "a:1+b"), entities[1])


# --- which labels a source marks at all ----------------------------------------------------------


def test_without_marked_a_file_marks_all_labels_seen_in_it(tmp_path: Path) -> None:
    """Also in the notes that have none of them; a note that says what it marks is believed."""
    path = jsonl(
        tmp_path / "a.jsonl",
        row("1", "pain", (0, 4, "SYMPTOM")),
        row("2", "none"),
        row("3", "pain", (0, 4, "SYMPTOM"), marked=["ROUTE", "SYMPTOM"]),
        row("4", "aspirin", (0, 7, "MEDICATION"), marked=[]),
        row("5", "stroke", (0, 6, "DISEASE"), marked=None),
    )
    seen = {"SYMPTOM", "MEDICATION", "DISEASE"}
    assert [set(item.marked) for item in read_labelled(path)] == [
        seen,
        seen,
        {"ROUTE", "SYMPTOM"},
        set(),
        seen,
    ]


def test_a_label_that_means_one_of_two_covers_both() -> None:
    item = Labelled(Note("n", "x"), (), frozenset({"DISEASE|SYMPTOM", "ROUTE"}))
    assert item.covered == {"DISEASE", "SYMPTOM", "ROUTE"}


# --- renames -------------------------------------------------------------------------------------


def test_labels_are_renamed_in_entities_and_in_marked(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        row("1", "aspirin pain", (0, 7, "Drug"), (8, 12, "Problem"), marked=["Drug", "Problem"]),
        row("2", "daily", (0, 5, "Frequency")),
    )
    renames = parse_map(["n2c2", "Problem=DISEASE|SYMPTOM"])
    one, two = read_labelled(path, renames)
    assert [e.label for e in one.entities] == ["MEDICATION", "DISEASE|SYMPTOM"]
    assert one.marked == {"MEDICATION", "DISEASE|SYMPTOM"}
    assert two.marked == {"MEDICATION", "DISEASE|SYMPTOM", "FREQUENCY"}


def test_n2c2_names_its_nine_types() -> None:
    renames = parse_map(["n2c2"])
    old = ["Drug", "Strength", "Form", "Dosage", "Route", "Frequency", "Duration", "Reason", "ADE"]
    assert sorted(renames) == sorted(old)
    assert renames.pop("Drug") == "MEDICATION"
    assert all(new == name.upper() for name, new in renames.items())


def test_a_later_rename_overrules_an_earlier_one() -> None:
    assert parse_map(["n2c2", "Reason=DISEASE|SYMPTOM"])["Reason"] == "DISEASE|SYMPTOM"
    assert parse_map(["Reason=DISEASE", "Problem=SYMPTOM", "n2c2"]) == {
        "Problem": "SYMPTOM",
        **parse_map(["n2c2"]),
    }
    assert parse_map(["a=b=c"]) == {"a": "b=c"}
    assert parse_map([]) == {}


@pytest.mark.parametrize("pair", ["Drug", "=X", "Drug=", "Drug=A|", "Drug=|", "N2C2"])
def test_a_rename_of_another_form_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match="expected FROM=TO") as caught:
        parse_map([pair])
    assert pair in str(caught.value)


# --- brat ----------------------------------------------------------------------------------------


def test_brat_fragments_become_one_span_from_first_to_last(tmp_path: Path) -> None:
    folder = brat(
        tmp_path / "b",
        one=("pain in left arm", "T1\tSYMPTOM 0 4;13 16\tpain arm\nT2\tSITE 8 16\tleft arm\n"),
        two=("fever", ""),
    )
    assert found(folder) == [[(0, 16, "SYMPTOM"), (8, 16, "SITE")], []]
    assert [set(item.marked) for item in read_labelled(folder)] == [{"SYMPTOM", "SITE"}] * 2


def test_all_but_entity_lines_of_an_ann_file_are_passed_over(tmp_path: Path) -> None:
    lines = [
        "T1\tDrug 0 7\taspirin",
        "#1\tAnnotatorNotes T1\tsure?",
        "R1\tTreats Arg1:T1 Arg2:T2",
        "E1\tT1 Arg:T2",
        "A1\tNegated T1",
        "*\tEquiv T1 T2",
        "",
        "T22\tReason 8 12",
    ]
    for name, end in (("unix", "\n"), ("dos", "\r\n")):
        folder = brat(tmp_path / name, a=("aspirin pain", end.join(lines) + end))
        assert found(folder, {"Drug": "MEDICATION"}) == [[(0, 7, "MEDICATION"), (8, 12, "Reason")]]


def test_brat_places_count_crlf_as_two_and_an_emoji_as_one(tmp_path: Path) -> None:
    text = "a\r\n🙂 pain\r\n"
    folder = brat(tmp_path / "b", a=(text, "T1\tSYMPTOM 5 9\tpain\r\n"))
    (item,) = read_labelled(folder)
    span = item.entities[0].span
    assert item.note.text[span.start : span.end] == "pain"


def test_a_byte_order_mark_in_an_ann_file_loses_no_entity(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", a=("pain", "\ufeffT1\tSYMPTOM 0 4\tpain\n"))
    assert found(folder) == [[(0, 4, "SYMPTOM")]]


def test_folders_below_a_brat_folder_are_read_too(tmp_path: Path) -> None:
    brat(tmp_path / "b")
    folder = brat(tmp_path / "b" / "ward", a=("pain", "T1\tSYMPTOM 0 4\tpain\n")).parent
    assert [item.note.id for item in read_labelled(folder)] == ["ward/a"]
    assert found(folder) == [[(0, 4, "SYMPTOM")]]


def test_a_span_over_a_line_break_is_written_as_fragments_around_it() -> None:
    text = "chest\r\npain\n\nand fever"
    entities = [Entity(Span(0, 11), "SYMPTOM"), Entity(Span(7, 22), "DISEASE|SYMPTOM")]
    assert brat_lines(entities, text) == (
        "T1\tSYMPTOM 0 5;7 11\tchest pain\nT2\tDISEASE|SYMPTOM 7 11;13 22\tpain and fever\n"
    )
    assert brat_lines([], text) == ""


@given(labelled())
@example(Labelled(Note("n", "a\r\nb"), (Entity(Span(0, 4), "A"),), frozenset("A")))
def test_brat_files_are_read_back_as_they_were_written(item: Labelled) -> None:
    """For every entity that does not itself begin or end with a line break: brat has none."""
    text = item.note.text.lstrip("\ufeff\r\n ")
    breaks = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    entities = [
        Entity(Span(start, end), e.label)
        for e in item.entities
        if (quote := text[e.span.start : e.span.end]).strip()
        for start in [e.span.start + len(quote) - len(quote.lstrip(breaks))]
        for end in [e.span.start + len(quote.rstrip(breaks))]
    ]
    lines = brat_lines(entities, text)
    assert lines.count("\n") == len(entities)
    assert "\r" not in lines
    for line, entity in zip(lines.split("\n"), entities, strict=False):
        quote = text[entity.span.start : entity.span.end]
        assert line.split("\t", 2)[2] == re.sub(f"[{breaks}]+", " ", quote)
    if text:
        with tempfile.TemporaryDirectory() as made:
            (read,) = read_labelled(brat(Path(made), n=(text, lines)))
        assert read.note == Note("n", text)
        assert list(read.entities) == entities


@given(texts(6), st.data())
def test_whatever_span_is_written_as_brat_its_line_can_be_read(text: str, data) -> None:
    """A student may find an entity that is only a line break; its line must not spoil the file."""
    if not text:
        return
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    for line in filter(None, brat_lines([Entity(span, "A")], text).split("\n")):
        assert re.match(r"T1\tA \d+ \d+(;\d+ \d+)*\t", line)
