"""Kappas against textbook figures and formulas written out; which words and notes count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.merging.agreement import (
    Kappa,
    agreements,
    as_dict,
    cohen_kappa,
    fleiss_kappa,
)

TEXT = "Gout, on aspirin 81-mg daily."  # words: Gout on aspirin 81 mg daily
counts = st.integers(0, 50)


def says(*places: tuple[int, int, str], marked: str, note: str = "n") -> Labelled:
    entities = tuple(Entity(Span(start, end), label) for start, end, label in places)
    return Labelled(Note(note, TEXT), entities, frozenset(marked.split()))


# --- the figures ---------------------------------------------------------------------------------


def test_cohen_by_hand() -> None:
    # 50 things: agreed 35/50 = 0.7; yes 25/50 and 30/50, so by chance 0.3 + 0.2 = 0.5.
    assert cohen_kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert cohen_kappa(7, 0, 0, 3) == 1
    assert cohen_kappa(0, 5, 5, 0) == -1
    assert cohen_kappa(25, 25, 25, 25) == 0


def test_fleiss_by_hand() -> None:
    # Three raters, four things with 3, 2, 1, 0 yes: agreed (1 + 1/3 + 1/3 + 1) / 4 = 2/3;
    # half of all answers are yes, so by chance 1/2.
    assert fleiss_kappa([1, 1, 1, 1]) == pytest.approx(1 / 3)
    assert fleiss_kappa([2, 0, 0, 5]) == 1


@pytest.mark.parametrize("kappa", [cohen_kappa(0, 0, 0, 9), cohen_kappa(9, 0, 0, 0)])
def test_where_chance_alone_agrees_fully_there_is_no_kappa(kappa) -> None:
    assert kappa is None


def test_no_things_or_no_raters_give_no_kappa() -> None:
    assert cohen_kappa(0, 0, 0, 0) is None
    assert fleiss_kappa([0, 0, 0]) is None
    assert fleiss_kappa([4, 0, 0]) is None
    assert fleiss_kappa([3, 4]) is None


@given(counts, counts, counts, counts)
def test_cohen_is_the_formula_over_the_answers_themselves(both, only_a, only_b, neither) -> None:
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    found = cohen_kappa(both, only_a, only_b, neither)
    if not len(a) or (a.all() and b.all()) or not (a.any() or b.any()):
        assert found is None
        return
    by_chance = sum((a == k).mean() * (b == k).mean() for k in (0, 1))
    assert found == pytest.approx(((a == b).mean() - by_chance) / (1 - by_chance), abs=1e-9)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_fleiss_is_the_formula_over_pairs_of_raters(answers) -> None:
    rated = np.array(answers)
    found = fleiss_kappa(np.bincount(rated.sum(axis=1), minlength=4).tolist())
    if rated.all() or not rated.any():
        assert found is None
        return
    agreed = np.mean([(rated[:, i] == rated[:, j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))])
    by_chance = rated.mean() ** 2 + (1 - rated.mean()) ** 2
    assert found == pytest.approx((agreed - by_chance) / (1 - by_chance), abs=1e-9)


# --- which words, notes and teachers -------------------------------------------------------------


def test_a_word_counts_if_it_shares_a_character_with_an_entity() -> None:
    said = {
        "a": says((9, 21, "MEDICATION"), marked="MEDICATION"),  # aspirin 81-m
        "b": says((9, 16, "MEDICATION"), marked="MEDICATION"),  # aspirin
    }
    found = agreements([said])["MEDICATION"]
    expected = cohen_kappa(1, 2, 0, 3)
    assert found.pairs == (Kappa(("a", "b"), expected, 6),)
    assert found.together.value == pytest.approx(fleiss_kappa([3, 2, 1]))


def test_a_word_that_only_touches_an_entity_does_not_count() -> None:
    said = {
        "a": says((4, 9, "MEDICATION"), marked="MEDICATION"),  # between gout and aspirin
        "b": says((6, 8, "MEDICATION"), marked="MEDICATION"),  # on
    }
    assert agreements([said])["MEDICATION"].pairs == (Kappa(("a", "b"), 1, 6),)


def test_a_label_of_two_meanings_counts_for_both() -> None:
    said = {
        "a": says((0, 4, "DISEASE|SYMPTOM"), marked="DISEASE|SYMPTOM"),
        "b": says((0, 4, "DISEASE"), marked="DISEASE SYMPTOM"),
    }
    found = agreements([said])
    assert (found["DISEASE"].pairs[0].value, found["SYMPTOM"].pairs[0].value) == (1, 0)


def test_only_teachers_that_mark_the_label_rate_it() -> None:
    said = {
        "a": says((0, 4, "DISEASE"), marked="DISEASE"),
        "b": says((0, 4, "DISEASE"), marked="DISEASE"),
        "c": says((9, 16, "MEDICATION"), marked="MEDICATION"),
    }
    found = agreements([said])
    assert found.keys() == {"DISEASE"}
    assert found["DISEASE"].together.raters == ("a", "b")


def test_two_are_compared_where_both_are_and_all_where_all_are() -> None:
    gout, nothing = says((0, 4, "DISEASE"), marked="DISEASE"), says(marked="DISEASE")
    notes = [
        {"a": gout, "b": gout, "c": gout},
        {"a": gout, "b": nothing},
        {"a": gout},
        {"b": gout, "c": says(marked="MEDICATION")},  # c does not mark it here
    ]
    found = agreements(notes)["DISEASE"]
    ab, ac, bc = found.pairs
    assert (ab.raters, ab.n_words, ab.value) == (("a", "b"), 12, cohen_kappa(1, 1, 0, 10))
    assert (ac.n_words, ac.value, bc.n_words, bc.value) == (6, 1, 6, 1)
    assert (found.together.raters, found.together.n_words) == (("a", "b", "c"), 6)


def test_no_notes_no_agreement_and_json_holds_none_for_no_kappa() -> None:
    assert agreements([]) == {}
    silent = says(marked="DISEASE")
    assert as_dict(agreements([{"a": silent, "b": silent}])) == {
        "DISEASE": {
            "cohen": [{"teachers": ["a", "b"], "kappa": None, "words": 6}],
            "fleiss": {"teachers": ["a", "b"], "kappa": None, "words": 6},
        }
    }
