"""Sources of one note, joined: what one marks and another does not, side by side or in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.dataset import join_sources
from strategies import labelled
from toy import toy_scheme

SCHEME = toy_scheme()
ALL = frozenset(SCHEME.types)


def said(note_id: str, label: str, place: int = 0, *, also: str = "", text: str = "ab") -> Labelled:
    marked = frozenset({label, also} - {""})
    entity = Entity(Span(place, place + 1), label)
    return Labelled(Note(note_id, text), (entity,), marked)


def test_sources_that_mark_different_labels_make_one_note() -> None:
    rxnorm = [said("a", "MEDICATION"), said("b", "MEDICATION")]
    snomed = [said("a", "DISEASE", 1, also="SYMPTOM")]
    joined = join_sources([rxnorm, snomed])
    assert joined == [
        Labelled(
            Note("a", "ab"),
            (Entity(Span(0, 1), "MEDICATION"), Entity(Span(1, 2), "DISEASE")),
            frozenset({"MEDICATION", "DISEASE", "SYMPTOM"}),
        ),
        rxnorm[1],
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (said("a", "DISEASE"), said("a", "DISEASE", 1)),
        (said("a", "DISEASE"), said("a", "MEDICATION", also="DISEASE")),
        (said("a", "DISEASE|SYMPTOM"), said("a", "SYMPTOM")),
        (said("a", "DISEASE|SYMPTOM"), said("a", "ADE|DISEASE")),
        (said("a", "DISEASE"), said("b", "MEDICATION")),
        (said("a", "DISEASE"), said("a", "MEDICATION", text="abc")),
    ],
    ids=["same", "one in common", "in A|B", "in both A|B", "other note", "other text"],
)
def test_others_stay_side_by_side(first: Labelled, second: Labelled) -> None:
    assert join_sources([[first], [second]]) == [first, second]
    assert join_sources([[first, second]]) == [first, second]


def test_a_third_source_joins_the_first_that_has_room() -> None:
    one, two, three = said("a", "DISEASE"), said("a", "DISEASE", 1), said("a", "MEDICATION")
    four = said("a", "MEDICATION", 1)
    joined = join_sources([[one], [two], [three], [four]])
    assert [item.entities for item in joined] == [
        (*one.entities, *three.entities),
        (*two.entities, *four.entities),
    ]


def test_a_source_that_marks_nothing_changes_nothing() -> None:
    silent = Labelled(Note("a", "ab"), (), frozenset())
    one = said("a", "DISEASE")
    assert join_sources([[silent], [one]]) == join_sources([[one], [silent]]) == [one]
    assert join_sources([]) == join_sources([[], []]) == []


@given(st.lists(st.lists(labelled(), max_size=3), max_size=3))
def test_joining_loses_and_invents_nothing(sources: list[list[Labelled]]) -> None:
    joined = join_sources(sources)

    def facts(items: list[Labelled]) -> list[tuple[str, str, Entity]]:
        return sorted((i.note.id, i.note.text, e) for i in items for e in i.entities)

    flat = [item for source in sources for item in source]
    assert facts(joined) == facts(flat)
    assert {(i.note, x) for i in joined for x in i.marked} == {
        (i.note, x) for i in flat for x in i.marked
    }
    assert {i.note for i in joined} == {i.note for i in flat}
