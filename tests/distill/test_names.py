"""Names from term tables: what they tell apart, and how they stand in for other names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.names import NameSettings, exchanger, narrower, read_names
from strategies import labelled

TABLE = """id\tname\tsynonyms\tlabel
1\tHYPERTENSION\thigh blood pressure|HTN\tDISEASE
2\tnausea\tfeeling sick\tSYMPTOM
3\tanemia\t\tDISEASE
4\tanemia\t\tSYMPTOM
5\theart failure\t\tSYMPTOM
6\tcarcinoma, renal\tkidney cancer (clear cell)|one two three four five|Cowden disease 4\tDISEASE
7\tnothing\t\tOTHER
"""
NAMES = {"MEDICATION": ["zulifen", "Tromexal retard"], "DISEASE": ["grey fever"]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "terms.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def item_of(text: str, *quotes: tuple[str, str]) -> Labelled:
    """A note whose entities are the first places of ``quotes``, each with its label."""
    entities = tuple(
        Entity(Span(text.index(q), text.index(q) + len(q)), label) for q, label in quotes
    )
    return Labelled(Note("n", text), entities, frozenset(label for _, label in quotes))


def quoted(item: Labelled) -> list[tuple[str, str]]:
    return [(item.note.text[e.span.start : e.span.end], e.label) for e in item.entities]


# --- reading -------------------------------------------------------------------------------------


def test_names_that_a_note_could_hold_are_read_by_label_each_once(table: Path) -> None:
    assert read_names([table, table], ["DISEASE", "SYMPTOM", "MEDICATION"]) == {
        "DISEASE": ["anemia", "high blood pressure", "hypertension"],
        "SYMPTOM": ["anemia", "feeling sick", "heart failure", "nausea"],
        "MEDICATION": [],
    }


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("id\tname\n")
    with pytest.raises(InputError, match=r"t\.tsv:1: needs a header"):
        read_names([tmp_path / "t.tsv"], ["DISEASE"])


@pytest.mark.parametrize(
    "wrong",
    [{"exchange": 1.5}, {"exchange": 0.3}, {"narrow": True}, {"tables": ("t",), "max_words": 0}],
)
def test_settings_that_could_not_be_followed_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exchange"):
        NameSettings(**wrong)  # type: ignore[arg-type]


# --- narrowing -----------------------------------------------------------------------------------


def test_a_label_that_may_be_two_is_narrowed_where_the_tables_know_one(table: Path) -> None:
    either = "DISEASE|SYMPTOM"
    narrow = narrower([table], ["heart failure"])
    item = item_of(
        "Nausea, high blood pressures, anemia, heart failure, gout; nausea again.",
        ("Nausea", either),
        ("high blood pressures", either),
        ("anemia", either),  # both, say the tables
        ("heart failure", either),  # it is to decide nothing
        ("gout", either),  # no table has it
    )
    narrowed = narrow(item)
    assert [label for _, label in quoted(narrowed)] == [
        "SYMPTOM",
        "DISEASE",
        either,
        either,
        either,
    ]
    assert narrowed.marked == item.marked
    assert narrowed.note == item.note


def test_a_label_that_is_sure_stays_whatever_the_tables_say(table: Path) -> None:
    item = item_of("nausea and hypertension", ("nausea", "DISEASE"), ("hypertension", "ADE|REASON"))
    assert narrower([table], [])(item) == item


# --- exchanging ----------------------------------------------------------------------------------


def test_a_name_takes_the_place_of_another_everywhere_and_places_move_along() -> None:
    text = "Aspirin 5 mg. aspirin for gout, no rash"
    item = Labelled(
        Note("n", text),
        (
            Entity(Span(0, 7), "MEDICATION"),
            Entity(Span(8, 12), "STRENGTH"),
            Entity(Span(14, 21), "MEDICATION"),
            Entity(Span(26, 30), "DISEASE|SYMPTOM"),
            Entity(Span(35, 39), "SYMPTOM"),
        ),
        frozenset({"MEDICATION"}),
    )
    told = exchanger({"MEDICATION": ["zulifen"], "DISEASE": ["grey fever"]}, 1.0, 0)(item, 0, 0)
    assert told.note.text == "Zulifen 5 mg. zulifen for grey fever, no rash"
    assert quoted(told) == [
        ("Zulifen", "MEDICATION"),
        ("5 mg", "STRENGTH"),
        ("zulifen", "MEDICATION"),
        ("grey fever", "DISEASE"),
        ("rash", "SYMPTOM"),
    ]
    assert told.marked == item.marked


def test_entities_that_overlap_stay_as_they_are() -> None:
    item = item_of(
        "aspirin for chest pain syndrome",
        ("aspirin", "MEDICATION"),
        ("chest pain syndrome", "DISEASE"),
        ("pain", "SYMPTOM"),
    )
    told = exchanger({**NAMES, "SYMPTOM": ["ache"]}, 1.0, 0)(item, 0, 0)
    assert told.note.text.endswith(" for chest pain syndrome")
    assert quoted(told)[1:] == quoted(item)[1:]


def test_epochs_and_notes_differ_and_each_can_be_told_again() -> None:
    item = item_of("aspirin or gout", ("aspirin", "MEDICATION"), ("gout", "DISEASE"))
    many = {"MEDICATION": [f"drug{i}" for i in range(99)], "DISEASE": ["grey fever"]}
    vary, again = exchanger(many, 0.5, 7), exchanger(many, 0.5, 7)
    places = [(epoch, number) for epoch in range(4) for number in range(10)]
    told = [vary(item, *place).note.text for place in places]
    assert told == [again(item, *place).note.text for place in places]
    assert len(set(told)) > 10
    kept = sum("gout" in text for text in told)
    assert 8 <= kept <= 32  # half of 40, give or take what chance may do


@given(labelled(), st.floats(0, 1), st.integers(0, 99))
def test_nothing_but_names_changes(item: Labelled, share: float, seed: int) -> None:
    told = exchanger(NAMES, share, seed)(item, 1, 2)
    assert len(told.entities) == len(item.entities)
    known = {name.lower() for names in NAMES.values() for name in names}
    left: list[tuple[Span, Span]] = []
    for old, new in zip(item.entities, told.entities, strict=True):
        before = item.note.text[old.span.start : old.span.end]
        after = told.note.text[new.span.start : new.span.end]
        if after != before:
            assert after.lower() in known
            assert new.label == alternatives(old.label)[0]
            left.append((old.span, new.span))
    # With the mentions that changed cut out, the texts are the same.
    assert cut(item.note.text, [o for o, _ in left]) == cut(told.note.text, [n for _, n in left])


def cut(text: str, spans: list[Span]) -> str:
    for span in sorted(spans, reverse=True):
        text = text[: span.start] + "\x00" + text[span.end :]
    return text
