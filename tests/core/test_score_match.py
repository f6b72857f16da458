"""Which predictions count as right: strict, lenient, partial, and labels that mean one of two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import score
from clin_edge.core.score_match import MATCHES
from clin_edge.core.spans import Entity, Span
from score_cases import EITHER, corpora, counts, entities, gold
from strategies import apart

# --- strict --------------------------------------------------------------------------------------


@given(corpora())
def test_strict_counts_are_those_of_comparing_sets(corpus) -> None:
    golds, predicted = corpus
    scores = score(golds, predicted, n_resamples=3)
    marked = {label for item in golds for label in item.marked}
    assert set(scores.by_label) == marked
    totals = np.zeros(3, dtype=int)
    for label in marked:
        wanted, found = set(), set()
        for item in golds:
            if label in item.marked:
                mine = predicted.get(item.note.id, [])
                wanted |= {(item.note.id, e.span) for e in item.entities if e.label == label}
                found |= {(item.note.id, e.span) for e in mine if e.label == label}
        expected = len(wanted & found), len(found - wanted), len(wanted - found)
        assert counts(scores, label) == expected
        totals += expected
    assert counts(scores) == tuple(totals)
    assert scores.n_notes == len(golds)


def test_an_example_counted_by_hand() -> None:
    golds = [
        gold("a", (0, 7, "MEDICATION"), (8, 12, "MEDICATION"), (20, 30, "DISEASE")),
        gold("b", (0, 5, "MEDICATION"), (6, 9, "DISEASE"), (50, 55, "DISEASE")),
        gold("c", marked=("MEDICATION", "DISEASE")),
    ]
    predicted = {
        "a": entities((0, 7, "MEDICATION"), (8, 11, "MEDICATION"), (20, 30, "DISEASE")),
        "b": entities(*((*place, "DISEASE") for place in [(0, 5), (6, 9), (50, 53), (53, 55)])),
        "c": entities((1, 2, "MEDICATION")),
    }
    strict = score(golds, predicted)
    #  MEDICATION  a: 0-7 right, 8-11 wrong, 8-12 missed; b: 0-5 missed; c: 1-2 wrong
    assert counts(strict, "MEDICATION") == (1, 2, 2)
    #  DISEASE     a: 20-30 right; b: 6-9 right; 0-5, 50-53, 53-55 wrong; 50-55 missed
    assert counts(strict, "DISEASE") == (2, 3, 1)
    assert counts(strict) == (3, 5, 3)
    assert strict.micro.counts.precision == pytest.approx(3 / 8)
    assert strict.micro.counts.recall == pytest.approx(3 / 6)
    assert strict.micro.counts.f1 == pytest.approx(6 / 14)
    assert strict.macro_f1 == pytest.approx((2 / 6 + 4 / 8) / 2)

    lenient = score(golds, predicted, match="lenient")
    #  8-11 now meets 8-12; of 50-53 and 53-55 one meets 50-55 and the other is wrong
    assert counts(lenient, "MEDICATION") == (2, 1, 1)
    assert counts(lenient, "DISEASE") == (3, 2, 0)
    assert (strict.match, lenient.match) == ("strict", "lenient")


def test_the_same_prediction_twice_counts_once() -> None:
    golds = [gold("a", (0, 7, "MEDICATION"))]
    assert counts(score(golds, {"a": entities(*[(0, 7, "MEDICATION")] * 3)})) == (1, 0, 0)


def test_predictions_with_a_label_the_gold_does_not_mark_are_left_out() -> None:
    golds = [gold("a", (0, 7, "MEDICATION")), gold("b", marked=("MEDICATION", "ROUTE"))]
    predicted = {
        "a": entities((0, 7, "MEDICATION"), (8, 9, "ROUTE"), (8, 9, "FORM")),
        "b": entities((8, 9, "ROUTE"), (1, 2, "FORM")),
    }
    scores = score(golds, predicted)
    assert counts(scores) == (1, 1, 0)
    assert counts(scores, "ROUTE") == (0, 1, 0)
    assert set(scores.by_label) == {"MEDICATION", "ROUTE"}


# --- lenient -------------------------------------------------------------------------------------


def best_matching(wanted: list[Span], found: list[Span]) -> int:
    """The most pairs that overlap, each span in at most one: every way is tried."""
    if not wanted:
        return 0
    first, *others = wanted
    best = best_matching(others, found)
    for i, span in enumerate(found):
        if first.start < span.end and span.start < first.end:
            best = max(best, 1 + best_matching(others, found[:i] + found[i + 1 :]))
    return best


@given(corpora(overlapping=False))
def test_lenient_counts_are_those_of_the_best_one_to_one_matching(corpus) -> None:
    golds, predicted = corpus
    scores = score(golds, predicted, match="lenient", n_resamples=3)
    for label in scores.by_label:
        n_right = n_wanted = n_found = 0
        for item in golds:
            if label not in item.marked:
                continue
            mine = predicted.get(item.note.id, [])
            wanted = [e.span for e in item.entities if e.label == label]
            found = [e.span for e in mine if e.label == label]
            n_right += best_matching(wanted, found)
            n_wanted, n_found = n_wanted + len(wanted), n_found + len(found)
        assert counts(scores, label) == (n_right, n_found - n_right, n_wanted - n_right)


@given(corpora())
def test_lenient_is_never_poorer_than_strict(corpus) -> None:
    golds, predicted = corpus
    strict = score(golds, predicted, n_resamples=3)
    lenient = score(golds, predicted, match="lenient", n_resamples=3)
    for label in strict.by_label:
        assert counts(lenient, label)[0] >= counts(strict, label)[0]
        assert sum(counts(lenient, label)[:2]) == sum(counts(strict, label)[:2])


def test_one_prediction_over_two_gold_entities_meets_one_of_them() -> None:
    golds = [gold("a", (0, 5, "DISEASE"), (6, 9, "DISEASE"))]
    assert counts(score(golds, {"a": entities((0, 9, "DISEASE"))}, match="lenient")) == (1, 0, 1)


@pytest.mark.parametrize("found", [[(2, 6), (6, 8)], [(0, 2), (2, 6)]])
def test_no_prediction_is_spent_where_another_would_do(found: list[tuple[int, int]]) -> None:
    golds = [gold("a", (0, 4, "DISEASE"), (4, 8, "DISEASE"))]
    predicted = {"a": entities(*((*place, "DISEASE") for place in found))}
    assert counts(score(golds, predicted, match="lenient")) == (2, 0, 0)


def test_spans_that_only_touch_do_not_meet() -> None:
    golds = [gold("a", (0, 5, "DISEASE"))]
    assert counts(score(golds, {"a": entities((5, 9, "DISEASE"))}, match="lenient")) == (0, 1, 1)


@pytest.mark.parametrize("match", ["exact", "", "STRICT"])
def test_a_way_of_matching_we_do_not_know_is_refused(match: str) -> None:
    with pytest.raises(ValueError, match="match is one of strict, lenient, partial, got"):
        score([], {}, match=match)


# --- partial -------------------------------------------------------------------------------------


def best_credit(wanted: list[Span], found: list[Span]) -> float:
    """The most points: 1 for a pair of equal spans, half for one that overlaps; all ways tried."""
    if not wanted:
        return 0.0
    first, *others = wanted
    best = best_credit(others, found)
    for i, span in enumerate(found):
        worth = 1.0 if span == first else 0.5 * first.overlaps(span)
        if worth:
            best = max(best, worth + best_credit(others, found[:i] + found[i + 1 :]))
    return best


@given(corpora(overlapping=False))
def test_partial_gives_the_most_credit_that_pairing_can_give(corpus) -> None:
    golds, predicted = corpus
    scores = score(golds, predicted, match="partial", n_resamples=3)
    for label, row in scores.by_label.items():
        credit, n_wanted, n_found = 0.0, 0, 0
        for item in golds:
            if label in item.marked:
                mine = predicted.get(item.note.id, [])
                wanted = [e.span for e in item.entities if e.label == label]
                found = [e.span for e in mine if e.label == label]
                credit += best_credit(wanted, found)
                n_wanted, n_found = n_wanted + len(wanted), n_found + len(found)
        assert row.counts.tp + row.counts.half / 2 == credit
        assert (row.counts.gold, row.counts.found) == (n_wanted, n_found)
        assert row.counts.precision == pytest.approx(credit / n_found if n_found else 0)
        assert row.counts.recall == pytest.approx(credit / n_wanted if n_wanted else 0)


@given(corpora(overlapping=False))
def test_partial_is_the_mean_of_strict_and_lenient(corpus) -> None:
    strict, lenient, partial = (score(*corpus, match=m, n_resamples=3) for m in MATCHES)
    for label in strict.by_label:
        exact, loose, half = (s.by_label[label].counts for s in (strict, lenient, partial))
        assert (half.tp, half.tp + half.half) == (exact.tp, loose.tp)
        for rate in ("precision", "recall", "f1"):
            both = getattr(exact, rate), getattr(loose, rate)
            assert getattr(half, rate) == pytest.approx(sum(both) / 2)


@given(corpora())
def test_partial_counts_as_right_what_strict_does_and_loses_nothing(corpus) -> None:
    strict, partial = (score(*corpus, match=m, n_resamples=3) for m in ("strict", "partial"))
    for label in strict.by_label:
        exact, half = strict.by_label[label].counts, partial.by_label[label].counts
        assert half.tp == exact.tp
        assert half.gold == exact.gold
    assert partial.micro.counts.found == strict.micro.counts.found


def test_partial_counted_by_hand() -> None:
    golds = [gold("a", (0, 7, "MEDICATION"), (8, 12, "MEDICATION"), (20, 30, "DISEASE"))]
    found = entities((0, 7, "MEDICATION"), (8, 11, "MEDICATION"), (20, 30, "SYMPTOM"))
    row = score(golds, {"a": found}, match="partial").by_label["MEDICATION"].counts
    assert (row.tp, row.half, row.fp, row.fn) == (1, 1, 0, 0)
    assert (row.precision, row.recall, row.f1) == (0.75, 0.75, 0.75)


# --- labels that mean one of two -----------------------------------------------------------------


def test_a_gold_label_that_means_one_of_two_is_met_by_either() -> None:
    golds = [gold("a", (0, 5, EITHER), (6, 9, EITHER), (10, 14, EITHER), (20, 24, "ROUTE"))]
    predicted = {
        "a": entities(
            (0, 5, "DISEASE"), (6, 9, "SYMPTOM"), (10, 13, "SYMPTOM"), (20, 24, "DISEASE")
        )
    }
    scores = score(golds, predicted)
    assert counts(scores, EITHER) == (2, 2, 1)
    assert counts(scores, "ROUTE") == (0, 0, 1)
    assert set(scores.by_label) == {EITHER, "ROUTE"}
    assert counts(score(golds, predicted, match="lenient"), EITHER) == (3, 1, 0)
    assert counts(score(golds, {"a": entities((0, 5, EITHER))}), EITHER) == (1, 0, 2)


def test_both_meanings_found_at_one_place_are_one_prediction() -> None:
    golds = [gold("a", (0, 5, EITHER))]
    assert counts(score(golds, {"a": entities((0, 5, "DISEASE"), (0, 5, "SYMPTOM"))})) == (1, 0, 0)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_meanings_found_at_one_place_either_may_be_the_right_one(order: int) -> None:
    golds = [gold("a", (0, 5, "DISEASE"), marked=(EITHER,))]
    found = entities((0, 5, "DISEASE"), (0, 5, "SYMPTOM"))[::order]
    assert counts(score(golds, {"a": found})) == (1, 0, 0)


def test_a_gold_label_of_few_meanings_chooses_first_at_its_place() -> None:
    golds = [gold("a", (0, 5, "A|B|C"), (0, 5, "B"), marked=("A|B|C", "B", "C"))]
    assert counts(score(golds, {"a": entities((0, 5, "B"), (0, 5, "C"))})) == (2, 0, 0)


def test_a_prediction_of_the_very_label_is_taken_before_one_that_may_mean_it() -> None:
    golds = [gold("a", (0, 5, "X"), (1, 5, "A"), marked=("A", "X", "A|X"))]
    found = entities((0, 5, "A|X"), (2, 5, "X"))
    assert counts(score(golds, {"a": found}, match="lenient")) == (2, 0, 0)


@pytest.mark.parametrize("label", ["DISEASE", "SYMPTOM"])
@pytest.mark.parametrize("match", ["strict", "lenient"])
@pytest.mark.parametrize("marked", [("DISEASE", "SYMPTOM"), ("DISEASE", "SYMPTOM", EITHER)])
def test_it_is_met_by_either_also_where_the_two_are_marked_apart_too(marked, match, label) -> None:
    """One annotator told them apart, another did not: the prediction is right, not wrong."""
    golds = [gold("a", (0, 5, EITHER), marked=marked)]
    scores = score(golds, {"a": entities((0, 5, label))}, match=match)
    assert counts(scores) == (1, 0, 0)


@given(gold_spans=apart(12), found_spans=apart(12), data=st.data())
def test_with_such_labels_too_as_many_as_can_be_are_right(gold_spans, found_spans, data) -> None:
    """Strict and lenient, against every way to pair gold with predictions."""

    def bearing(drawn: list[Span], labels: tuple[str, ...]) -> list[Entity]:
        return [Entity(span, data.draw(st.sampled_from(labels))) for span in drawn]

    wanted = bearing(gold_spans, ("DISEASE", "SYMPTOM", EITHER))
    found = bearing(found_spans, ("DISEASE", "SYMPTOM"))
    item = Labelled(Note("a", "x" * 12), tuple(wanted), frozenset({"DISEASE", "SYMPTOM", EITHER}))

    def most(wanted: list[Entity], found: list[Entity], match: str) -> int:
        if not wanted:
            return 0
        first, *others = wanted
        best = most(others, found, match)
        for i, one in enumerate(found):
            places = one.span == first.span or (
                match == "lenient" and one.span.overlaps(first.span)
            )
            if places and one.label in first.label.split("|"):
                best = max(best, 1 + most(others, found[:i] + found[i + 1 :], match))
        return best

    for match in ("strict", "lenient"):
        tp = most(wanted, found, match)
        scores = score([item], {"a": found}, match=match, n_resamples=1)
        assert counts(scores) == (tp, len(found) - tp, len(wanted) - tp)
