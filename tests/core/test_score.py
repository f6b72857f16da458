"""Scores against counting by hand: strict, lenient, labels that mean one of two, intervals."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import Counts, score
from clin_edge.core.spans import Entity, Span
from strategies import apart, spans

LABELS = ("MEDICATION", "DISEASE", "SYMPTOM")
Place = tuple[int, int, str]


def gold(note_id: str, *places: Place, marked: tuple[str, ...] | None = None) -> Labelled:
    said = frozenset(label for *_, label in places) if marked is None else frozenset(marked)
    return Labelled(Note(note_id, "x" * 99), entities(*places), said)


def entities(*places: Place) -> tuple[Entity, ...]:
    return tuple(Entity(Span(start, end), label) for start, end, label in places)


def counts(scores, label: str | None = None) -> tuple[int, int, int]:
    row = scores.micro if label is None else scores.by_label[label]
    return row.counts.tp, row.counts.fp, row.counts.fn


@st.composite
def some_entities(draw, *, overlapping: bool) -> list[Entity]:
    drawn = draw(st.lists(spans(12), max_size=4)) if overlapping else draw(apart(12))
    labels = st.sampled_from(LABELS[: draw(st.integers(1, 3))])
    return [Entity(span, draw(labels)) for span in drawn]


@st.composite
def corpora(draw, *, overlapping: bool = True):
    """Gold notes and predictions; some notes do not mark all labels, some have no prediction."""
    golds, predicted = [], {}
    for i in range(draw(st.integers(1, 3))):
        marked = frozenset(draw(st.just(LABELS) | st.lists(st.sampled_from(LABELS))))
        listed = tuple(draw(some_entities(overlapping=overlapping)))
        golds.append(Labelled(Note(f"n{i}", "x" * 12), listed, marked))
        if draw(st.booleans()):
            predicted[f"n{i}"] = draw(some_entities(overlapping=overlapping))
    return golds, predicted


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


@pytest.mark.parametrize("match", ["partial", "", "STRICT"])
def test_a_way_of_matching_we_do_not_know_is_refused(match: str) -> None:
    with pytest.raises(ValueError, match="match is 'strict' or 'lenient'"):
        score([], {}, match=match)


# --- labels that mean one of two -----------------------------------------------------------------

EITHER = "DISEASE|SYMPTOM"


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


# --- intervals -----------------------------------------------------------------------------------


def random_corpus(n_notes: int, hit: float) -> tuple[list[Labelled], dict[str, tuple[Entity, ...]]]:
    rng = np.random.default_rng(3)
    golds, predicted = [], {}
    for i in range(n_notes):
        places = [(10 * k, 10 * k + 5, LABELS[k % 3]) for k in range(rng.integers(1, 6))]
        golds.append(gold(f"n{i}", *places, marked=LABELS))
        hits = [place for place in places if rng.random() < hit]
        predicted[f"n{i}"] = entities(*hits, (60, 66, "DISEASE"))
    return golds, predicted


@pytest.mark.parametrize("hit", [0.2, 0.6, 0.95])
def test_the_interval_holds_the_score_and_narrows_with_more_notes(hit: float) -> None:
    few, many = (score(*random_corpus(n_notes, hit)) for n_notes in (12, 300))
    for scores in (few, many):
        for row in (scores.micro, *scores.by_label.values()):
            assert 0 <= row.f1_low <= row.counts.f1 <= row.f1_high <= 1
    assert few.micro.f1_low < few.micro.f1_high
    assert many.micro.f1_high - many.micro.f1_low < few.micro.f1_high - few.micro.f1_low


def test_the_interval_is_the_percentiles_of_scoring_resampled_notes() -> None:
    """Drawn anew with other numbers, so the same but for the luck of the draw."""
    golds, predicted = random_corpus(15, 0.5)
    row = score(golds, predicted, n_resamples=4000).micro
    alone = [counts(score([item], predicted, n_resamples=1)) for item in golds]
    rng, f1s = np.random.default_rng(99), []
    for _ in range(4000):
        drawn = [alone[i] for i in rng.integers(0, len(golds), len(golds))]
        tp, fp, fn = map(sum, zip(*drawn, strict=True))
        f1s.append(2 * tp / (2 * tp + fp + fn))
    f1s.sort()
    luck = 0.15 * float(np.std(f1s))
    assert row.f1_low == pytest.approx(f1s[100], abs=luck)
    assert row.f1_high == pytest.approx(f1s[-100], abs=luck)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    golds, predicted = random_corpus(15, 0.5)
    one, same, other = (score(golds, predicted, seed=seed).as_dict() for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_notes_that_are_all_alike_leave_no_doubt() -> None:
    golds = [gold(f"n{i}", (0, 5, "DISEASE"), (6, 9, "DISEASE")) for i in range(9)]
    row = score(golds, {f"n{i}": entities((0, 5, "DISEASE")) for i in range(9)}).micro
    assert (row.f1_low, row.f1_high) == pytest.approx((2 / 3, 2 / 3))


# --- nothing to score, and how scores are written ------------------------------------------------


def test_no_notes_score_nothing() -> None:
    scores = score([], {})
    assert (scores.n_notes, scores.by_label, scores.macro_f1) == (0, {}, 0)
    assert (counts(scores), scores.micro.f1_low, scores.micro.f1_high) == ((0, 0, 0), 0, 0)


def test_notes_without_entities_score_only_what_is_wrongly_found() -> None:
    golds = [gold("a", marked=("DISEASE",)), gold("b")]
    assert counts(score(golds, {})) == (0, 0, 0)
    wrong = score(golds, {"a": entities((0, 5, "DISEASE")), "b": entities((0, 5, "DISEASE"))})
    assert counts(wrong) == (0, 1, 0)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_precision_recall_and_f1_by_their_definitions(tp: int, fp: int, fn: int) -> None:
    made = Counts(tp, fp, fn)
    precision = tp / (tp + fp) if tp + fp else 0
    recall = tp / (tp + fn) if tp + fn else 0
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert (made.precision, made.recall) == (precision, recall)
    assert made.f1 == pytest.approx(harmonic)


def test_scores_are_plain_values_for_json_with_four_decimals() -> None:
    golds = [gold("a", (0, 5, "DISEASE"), (6, 9, "DISEASE"), (10, 14, "DISEASE"))]
    scores = score(golds, {"a": entities((0, 5, "DISEASE"), (6, 9, "DISEASE"))}).as_dict()
    row = {"precision": 1.0, "recall": 0.6667, "f1": 0.8, "f1_low": 0.8, "f1_high": 0.8}
    row |= {"tp": 2, "fp": 0, "fn": 1}
    assert json.loads(json.dumps(scores)) == {
        "match": "strict",
        "notes": 1,
        "micro": row,
        "macro_f1": 0.8,
        "labels": {"DISEASE": row},
    }


def test_the_order_of_notes_and_entities_does_not_change_the_counts() -> None:
    golds, predicted = random_corpus(6, 0.5)
    expected = counts(score(golds, predicted))
    for shuffled in itertools.islice(itertools.permutations(golds), 0, 720, 90):
        mirrored = {note_id: found[::-1] for note_id, found in predicted.items()}
        assert counts(score(list(shuffled), mirrored)) == expected
