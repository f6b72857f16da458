"""All sets of teachers under all rules: what is scored, on which notes, and who is chosen."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.merging import subsets
from clin_edge.distill.merging.rules import RULES, merge_notes
from clin_edge.distill.merging.silver import Teachers, said_by
from clin_edge.distill.merging.subsets import choose, halves, scorable, score_again, try_all

GOLD_FILE = Path("gold.jsonl")
TEXT = "ab cd ef gh ij kl mn op"
D, M = frozenset({"DISEASE"}), frozenset({"DISEASE", "MEDICATION"})


def item(note: str, *starts: int, marked: frozenset[str] = D, label: str = "DISEASE") -> Labelled:
    entities = tuple(Entity(Span(start, start + 2), label) for start in starts)
    return Labelled(Note(note, TEXT), entities, marked)


IDS = [f"n{i}" for i in range(12)]
GOLD = [item(note, 0, 3, 6) for note in IDS]


def teachers_that_say(**starts: tuple[int, ...]) -> Teachers:
    return {name: {i: item(i, *places) for i in IDS} for name, places in starts.items()}


GOOD = teachers_that_say(sure=(0, 3), bold=(0, 3, 6, 9), odd=(0, 12, 15))


# --- what is tried -------------------------------------------------------------------------------


def test_every_set_under_every_rule_is_tried_once_and_one_alone_in_one_row() -> None:
    trials = try_all(GOOD, GOLD)
    assert len(trials) == 3 + 4 * 4 == len({(t.teachers, t.rule) for t in trials})
    assert Counter(len(t.teachers) for t in trials) == {1: 3, 2: 12, 3: 4}
    assert {t.rule for t in trials if len(t.teachers) > 1} == set(RULES)


def test_scores_are_those_of_what_would_be_written() -> None:
    for trial in try_all(GOOD, GOLD):
        found = merge_notes(said_by(GOOD, trial.teachers), [trial.rule])[trial.rule]
        for match in ("strict", "lenient"):
            assert trial.first[match] == score(GOLD, found, match=match)
        assert not trial.second


def test_the_best_comes_first_and_of_equals_the_simplest() -> None:
    trials = try_all(GOOD, GOLD)
    f1 = [t.row.counts.f1 for t in trials]
    assert f1 == sorted(f1, reverse=True)
    # `bold` alone is right three times of four; what merges add to it or take away is no better.
    assert (trials[0].teachers, trials[0].rule) == (("bold",), "union")
    best = [(t.teachers, t.rule) for t in trials if t.row.counts.f1 == f1[0]]
    assert len(best) > 1
    assert best == sorted(best, key=lambda b: (len(b[0]), RULES.index(b[1]), b[0]))


def test_more_than_eight_teachers_are_refused() -> None:
    many = teachers_that_say(**{f"t{i}": (0,) for i in range(9)})
    with pytest.raises(InputError, match="9 teachers make 511 sets to score; give at most 8"):
        try_all(many, GOLD)


# --- the choice ----------------------------------------------------------------------------------


def test_the_best_ten_and_every_teacher_are_scored_again_on_other_notes() -> None:
    first, second = GOLD[:7], [replace(g, entities=g.entities[:1]) for g in GOLD[7:]]
    trials = choose(GOOD, first, second)
    assert [replace(t, second={}) for t in trials] == try_all(GOOD, first)
    for place, trial in enumerate(trials):
        assert bool(trial.second) == (place < subsets.TOP or len(trial.teachers) == 1)
        if trial.second:
            assert trial.second == score_again(trial, GOOD, second).second
            found = merge_notes(said_by(GOOD, trial.teachers), [trial.rule])[trial.rule]
            assert trial.second["strict"].n_notes == 5
            assert trial.second["strict"] == score(second, found)


def test_notes_that_are_in_both_parts_are_refused() -> None:
    with pytest.raises(InputError, match="--gold and --second share notes"):
        choose(GOOD, GOLD[:7], GOLD[6:])


def test_halves_are_apart_complete_and_the_same_whatever_else_is_there() -> None:
    many = [item(f"note {i}") for i in range(200)]
    first, second = halves(many)
    assert sorted(i.note.id for i in (*first, *second)) == sorted(i.note.id for i in many)
    assert 70 < len(first) < 130
    again = halves(many[::-1][:150])
    assert {i.note.id for i in again[0]} <= {i.note.id for i in first}
    assert {i.note.id for i in again[1]} <= {i.note.id for i in second}


def test_one_note_cannot_be_halved() -> None:
    with pytest.raises(InputError, match=r"1 gold notes are too few .* with --second"):
        halves(GOLD[:1])


# --- the notes that can be scored ----------------------------------------------------------------


def test_gold_notes_some_teacher_lacks_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lacking = {**GOOD, "late": {i: item(i, 0) for i in IDS[3:]}}
    with caplog.at_level(logging.WARNING, "clin_edge"):
        kept = scorable(GOLD_FILE, [*GOLD, item("unseen")], lacking)
    assert [i.note.id for i in kept] == IDS[3:]
    assert caplog.messages == [
        "gold.jsonl: 4 of 13 notes are not in every teacher's file and are not scored"
    ]


def test_no_gold_note_in_every_file_is_refused() -> None:
    with pytest.raises(InputError, match="none of its 1 notes is in every teacher's file"):
        scorable(GOLD_FILE, [item("unseen")], GOOD)


def test_a_gold_note_of_another_text_is_refused() -> None:
    other = Labelled(Note("n3", "secret"), (), D)
    with pytest.raises(InputError, match=r"gold\.jsonl: the note 'n3' has another text") as caught:
        scorable(GOLD_FILE, [other], GOOD)
    assert "secret" not in str(caught.value)


def test_labels_no_teacher_marks_are_not_scored(caplog: pytest.LogCaptureFixture) -> None:
    drug = Entity(Span(9, 11), "MEDICATION")
    gold = [replace(g, entities=(*g.entities, drug), marked=M) for g in GOLD]
    with caplog.at_level(logging.WARNING, "clin_edge"):
        assert scorable(GOLD_FILE, gold, GOOD) == GOLD
    assert caplog.messages == ["gold.jsonl: not scored, no teacher marks: MEDICATION"]
    with pytest.raises(InputError, match="marks none of the labels that the teachers mark"):
        scorable(
            GOLD_FILE, [replace(g, entities=(), marked=frozenset({"ADE"})) for g in GOLD], GOOD
        )
