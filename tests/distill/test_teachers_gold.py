"""What people marked, as a teacher of the very same notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.teachers import SetAside
from clin_edge.distill.teachers.gold import gold_teacher
from llm_runs import marked, write_labelled

ITEM = marked("a", "Took [aspirin|MEDICATION] for [gout|DISEASE].")
PART = Labelled(Note("b", "Dizzy."), (Entity(Span(0, 5), "ADE"),), frozenset({"ADE"}))


def test_it_gives_what_was_marked_and_says_so(tmp_path: Path) -> None:
    teacher = gold_teacher(write_labelled(tmp_path / "g.jsonl", [ITEM, PART]), "gold-g")
    assert teacher.marked == {"MEDICATION", "DISEASE", "ADE"}
    labelled = teacher.read(Note("a", ITEM.note.text))
    assert [(e.span, e.label, e.source) for e in labelled.entities] == [
        (e.span, e.label, "gold-g:human") for e in ITEM.entities
    ]
    assert labelled.marked == ITEM.marked
    assert teacher.read(PART.note).marked == {"ADE"}


def test_a_brat_folder_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("On zinc.")
    (tmp_path / "n.ann").write_text("T1\tMEDICATION 3 7\tzinc\n")
    (entity,) = gold_teacher(tmp_path, "gold").read(Note("n", "On zinc.")).entities
    assert entity.span == Span(3, 7)


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (Note("c", ITEM.note.text), "not among the gold notes"),
        (Note("a", ITEM.note.text + " "), "another text in the gold notes"),
    ],
)
def test_another_note_is_set_aside(tmp_path: Path, note: Note, reason: str) -> None:
    teacher = gold_teacher(write_labelled(tmp_path / "g.jsonl", [ITEM]), "gold")
    with pytest.raises(SetAside, match=f"^{reason}$"):
        teacher.read(note)


def test_it_shows_no_text_when_printed(tmp_path: Path) -> None:
    teacher = gold_teacher(write_labelled(tmp_path / "g.jsonl", [ITEM]), "gold")
    assert "aspirin" not in repr(teacher)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        gold_teacher(tmp_path / "nowhere.jsonl", "gold")
