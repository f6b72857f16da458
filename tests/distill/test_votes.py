"""Term tables and rules move soft labels: by how much, where, and nowhere else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.dataset import make_examples
from clin_edge.distill.lessons import Lessons
from clin_edge.distill.soft import student_teacher
from clin_edge.distill.votes import believe, collect_marks, collect_votes, lean_on
from strategies import labelled
from tiny import invented_set, tiny_recipe, tiny_student
from toy import toy_encoder, toy_scheme

SCHEME, ENCODER = toy_scheme(), toy_encoder()
TEXT = "patient takes metformin for acute stroke"
NOTE = Note("n", TEXT)


def said(quote: str, label: str, note: Note = NOTE) -> Labelled:
    at = note.text.index(quote)
    return Labelled(note, (Entity(Span(at, at + len(quote)), label),), frozenset({label}))


def leant(rows: np.ndarray, sources: list[list[Labelled]], weight: float, note: Note = NOTE):
    soft = np.log(rows).astype(np.float16)
    (out,) = lean_on([soft], [note], ENCODER, SCHEME, collect_votes(sources), weight)
    return np.exp(out.astype(np.float64))


def drawn(note: Note, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (len(ENCODER.encode(note).ids), len(SCHEME.tags))
    return rng.dirichlet(np.ones(shape[1]), size=shape[0]) * 0.9 + 0.1 / shape[1]


def test_the_odds_of_a_name_s_tags_are_multiplied_and_other_tokens_stay() -> None:
    rows = drawn(NOTE)
    sources = [[said("acute stroke", "DISEASE")], [said("acute stroke", "DISEASE")]]
    out = leant(rows, sources, math.log(3))
    offsets = ENCODER.encode(NOTE).offsets
    start = TEXT.index("acute stroke")
    inside = offsets[:, 0] >= start
    np.testing.assert_allclose(out[~inside], rows[~inside], rtol=2e-3)
    for row, (token, before) in enumerate(zip(out[inside], rows[inside], strict=True)):
        tag = SCHEME.index["I-DISEASE" if row else "B-DISEASE"]
        odds = before[tag] / (1 - before[tag])
        assert token[tag] / (1 - token[tag]) == pytest.approx(9 * odds, rel=0.02)


def test_one_of_two_labels_leans_to_both() -> None:
    rows = drawn(NOTE)
    out = leant(rows, [[said("metformin", "MEDICATION|DISEASE")]], 1.0)
    at = int(np.flatnonzero(ENCODER.encode(NOTE).offsets[:, 0] == TEXT.index("metformin"))[0])
    gain = out[at] / rows[at]
    both = [SCHEME.index["B-MEDICATION"], SCHEME.index["B-DISEASE"]]
    others = [i for i in range(len(gain)) if i not in both]
    np.testing.assert_allclose(gain[both] / gain[0], math.e, rtol=0.02)
    np.testing.assert_allclose(gain[others] / gain[0], 1, rtol=0.02)


def test_names_of_another_note_or_label_or_without_weight_move_nothing() -> None:
    rows = drawn(NOTE)
    for sources, weight in (
        ([[said("metformin", "MEDICATION", Note("m", TEXT))]], 1.0),
        ([[said("metformin", "MEDICATION", Note("n", TEXT + "."))]], 1.0),
        ([[said("metformin", "PLANT")]], 1.0),
        ([[said("metformin", "MEDICATION")]], 0.0),
        ([], 1.0),
    ):
        np.testing.assert_allclose(leant(rows, sources, weight), rows, rtol=2e-3)


@given(labelled(SCHEME.types), st.integers(0, 9), st.floats(0, 5))
def test_rows_stay_distributions(item: Labelled, seed: int, weight: float) -> None:
    rows = drawn(item.note, seed)
    for out in (leant(rows, [[item]], weight, item.note), believed(rows, [[item]], item.note)):
        np.testing.assert_allclose(out.sum(axis=1), 1, rtol=5e-3)


def test_lessons_lean_on_what_is_named(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "e")
    items = [Labelled(item.note, (), frozenset()) for item in invented_set(3)]
    named = invented_set(3)
    teachers = [student_teacher(student)]
    plain = Lessons(tiny_recipe(), items, student, teachers).examples(0)
    leaning = Lessons(tiny_recipe(), items, student, teachers, votes=collect_votes([named]))
    gold = list(make_examples(named, student.encoder, student.scheme))
    moved = 0
    for before, after, right in zip(plain, leaning.examples(0), gold, strict=True):
        assert before.soft is not None
        assert after.soft is not None
        entity = ~right.allowed[:, 0] & right.learn
        gain = after.soft.astype(float) - before.soft
        assert (gain[entity][right.allowed[entity]] > 0.1).all()
        np.testing.assert_allclose(gain[~entity], 0, atol=5e-3)
        moved += entity.sum()
    assert moved > 5


def believed(rows: np.ndarray, sources: list[list[Labelled]], note: Note = NOTE) -> np.ndarray:
    soft = np.log(rows).astype(np.float16)
    (out,) = believe([soft], [note], ENCODER, SCHEME, collect_marks(sources))
    return np.exp(out.astype(np.float64))


def test_what_rules_mark_takes_the_place_of_nothing_and_of_what_they_know() -> None:
    rows = drawn(NOTE)
    item = said("acute stroke", "DISEASE")
    out = believed(rows, [[item]])
    inside = ENCODER.encode(NOTE).offsets[:, 0] >= TEXT.index("acute stroke")
    np.testing.assert_allclose(out[~inside], rows[~inside], rtol=2e-3)
    known = [0, SCHEME.index["B-DISEASE"], SCHEME.index["I-DISEASE"]]
    others = [tag for tag in range(len(SCHEME.tags)) if tag not in known]
    np.testing.assert_allclose(out[:, others], rows[:, others], rtol=2e-3)
    for row, (token, before) in enumerate(zip(out[inside], rows[inside], strict=True)):
        right = SCHEME.index["I-DISEASE" if row else "B-DISEASE"]
        assert token[right] == pytest.approx(0.97 * before[known].sum(), rel=0.01)
        assert token[0] == pytest.approx(0.03 * before[known].sum(), rel=0.02)


def test_rules_do_not_take_from_labels_they_do_not_know() -> None:
    rows = drawn(NOTE)
    at = int(np.flatnonzero(ENCODER.encode(NOTE).offsets[:, 0] == TEXT.index("metformin"))[0])
    rows[at] = 0.001
    rows[at, SCHEME.index["B-MEDICATION"]] = 1 - 0.001 * (rows.shape[1] - 1)
    out = believed(rows, [[said("metformin", "DISEASE")]])
    assert out[at].argmax() == SCHEME.index["B-MEDICATION"]
    np.testing.assert_allclose(believed(rows, [[said("metformin", "PLANT")]]), rows, rtol=2e-3)


def test_rules_that_waver_between_two_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"MEDICATION\|DISEASE is no single label"):
        collect_marks([[said("metformin", "MEDICATION|DISEASE")]])


def test_lessons_believe_what_is_marked(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "e")
    items = [Labelled(item.note, (), frozenset()) for item in invented_set(3)]
    marked = invented_set(3)
    teachers = [student_teacher(student)]
    told = Lessons(tiny_recipe(), items, student, teachers, marks=collect_marks([marked]))
    gold = list(make_examples(marked, student.encoder, student.scheme))
    seen = 0
    for after, right in zip(told.examples(0), gold, strict=True):
        assert after.soft is not None
        entity = ~right.allowed[:, 0] & right.learn
        assert (after.soft.astype(float)[entity].argmax(1) == right.allowed[entity].argmax(1)).all()
        seen += entity.sum()
    assert seen > 5
