"""Teachers' files in, one file out: whole or not at all, every note, nobody's text in an error."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.merging.silver import (
    merged_items,
    read_teachers,
    said_by,
    write_silver,
    write_whole,
)
from tiny import write_labelled

TEXT = "gout on aspirin"
GOUT, ASPIRIN = Entity(Span(0, 4), "DISEASE"), Entity(Span(8, 15), "MEDICATION")


def item(note: str, *entities: Entity, marked: str = "DISEASE", text: str = TEXT) -> Labelled:
    return Labelled(Note(note, text), entities, frozenset(marked.split()))


def test_a_teacher_is_called_as_its_file_and_notes_keep_the_first_file_s_order(tmp_path) -> None:
    first = write_labelled(tmp_path / "rxnorm.jsonl", [item("b"), item("a")])
    second = write_labelled(tmp_path / "gpt-4o.jsonl", [item("c"), item("a"), item("d")])
    teachers = read_teachers([first, second])
    assert list(teachers) == ["rxnorm", "gpt-4o"]
    notes = said_by(teachers)
    assert {note: list(said) for note, said in notes.items()} == {
        "b": ["rxnorm"],
        "a": ["rxnorm", "gpt-4o"],
        "c": ["gpt-4o"],
        "d": ["gpt-4o"],
    }
    assert list(notes) == ["b", "a", "c", "d"]
    assert list(said_by(teachers, ["gpt-4o"])) == ["c", "a", "d"]


def test_a_merged_note_marks_what_any_teacher_that_has_it_marks() -> None:
    notes = {
        "n": {"a": item("n", GOUT), "b": item("n", marked="MEDICATION ROUTE")},
        "m": {"a": item("m", GOUT)},
    }
    n, m = merged_items(notes, {"n": [GOUT], "m": []})
    assert (n.marked, n.entities) == ({"DISEASE", "MEDICATION", "ROUTE"}, (GOUT,))
    assert (m.marked, m.entities) == ({"DISEASE"}, ())


def test_one_id_with_two_texts_names_id_and_files_and_no_text(tmp_path: Path) -> None:
    first = write_labelled(tmp_path / "a.jsonl", [item("n")])
    second = write_labelled(tmp_path / "b.jsonl", [item("n", text="secret gout")])
    with pytest.raises(InputError) as caught:
        read_teachers([first, second])
    assert str(caught.value) == f"{second}: the note 'n' has another text in {first}"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [write_labelled(tmp_path / f / "a.jsonl", [item("n")]) for f in ("x", "y")]
    with pytest.raises(InputError, match="a second teacher called 'a'; rename the file"):
        read_teachers(paths)


def test_only_the_labels_asked_for_and_only_teachers_that_mark_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = item("n", GOUT, ASPIRIN, marked="DISEASE MEDICATION")
    paths = [
        write_labelled(tmp_path / "both.jsonl", [both]),
        write_labelled(tmp_path / "ills.jsonl", [item("n", GOUT)]),
        write_labelled(tmp_path / "idle.jsonl", [item("n", marked="MEDICATION")]),
    ]
    with caplog.at_level(logging.WARNING, "clin_edge"):
        teachers = read_teachers(paths, frozenset({"MEDICATION"}))
    assert caplog.messages == ["ills: left out, it marks none of the labels asked for"]
    assert list(teachers) == ["both", "idle"]
    assert teachers["both"]["n"].entities == (ASPIRIN,)
    assert teachers["both"]["n"].marked == {"MEDICATION"}
    with pytest.raises(InputError, match="no teacher marks any of the labels asked for"):
        read_teachers(paths, frozenset({"ADE"}))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    scored = Entity(Span(0, 4), "DISEASE", 0.75, "a:1+b")
    items = [item("n", scored, ASPIRIN, marked="DISEASE MEDICATION"), item("é", text="\r\n🙂")]
    write_silver(tmp_path / "deep" / "s.jsonl", items)
    assert read_labelled(tmp_path / "deep" / "s.jsonl") == items
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.jsonl"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def lines():
        yield "first"
        raise RuntimeError

    out = tmp_path / "s.jsonl"
    out.write_text("of yesterday")
    with pytest.raises(RuntimeError):
        write_whole(out, lines())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("s.jsonl", "of yesterday")
    ]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/s\.jsonl: cannot be written"):
        write_whole(tmp_path / "file" / "s.jsonl", [])
