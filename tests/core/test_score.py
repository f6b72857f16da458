"""Scores put together: micro, macro, weighted, by document; and how they are written."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.score import Counts, score
from clin_edge.core.score_match import MATCHES
from score_cases import corpora, counts, entities, gold, random_corpus

RATES = ("precision", "recall", "f1")


def rates(scored) -> list[float]:
    return [getattr(scored, rate) for rate in RATES]


def mean(rows: list[list[float]], weights: list[int]) -> list[float]:
    total = sum(weights) or 1
    return [
        sum(w * r for w, r in zip(weights, column, strict=True)) / total
        for column in zip(*rows, strict=True)
    ] or [0.0] * 3


# --- averages ------------------------------------------------------------------------------------


@given(st.sampled_from(MATCHES), corpora())
def test_averages_by_their_definitions(match, corpus) -> None:
    golds, predicted = corpus
    scores = score(golds, predicted, match=match, n_resamples=2)
    occurring = [
        row.counts for row in scores.by_label.values() if row.counts.gold + row.counts.found
    ]
    rows = [rates(row) for row in occurring]
    assert rates(scores.macro) == pytest.approx(mean(rows, [1] * len(rows)))
    assert scores.macro_f1 == scores.macro.f1
    assert scores.macro.n == len(rows)
    assert rates(scores.weighted) == pytest.approx(mean(rows, [row.gold for row in occurring]))
    alone = [score([item], predicted, match=match, n_resamples=1).micro.counts for item in golds]
    heard = [rates(row) for row in alone if row.gold + row.found]
    assert rates(scores.by_document) == pytest.approx(mean(heard, [1] * len(heard)))
    assert scores.by_document.n == len(heard)


def test_averages_counted_by_hand() -> None:
    golds = [
        gold(
            "a",
            (0, 5, "DISEASE"),
            (6, 9, "DISEASE"),
            (10, 14, "DISEASE"),
            marked=("DISEASE", "ADE"),
        ),
        gold("b", (0, 5, "ADE"), marked=("DISEASE", "ADE", "ROUTE")),
        gold("c", marked=("DISEASE",)),
    ]
    predicted = {"a": entities((0, 5, "DISEASE"), (6, 9, "DISEASE")), "b": entities((1, 5, "ADE"))}
    scores = score(golds, predicted)
    #  DISEASE: P 2/2, R 2/3, F1 4/5, gold 3;  ADE: 0, gold 1;  ROUTE: neither gold nor found
    assert rates(scores.macro) == pytest.approx([1 / 2, 1 / 3, 2 / 5])
    assert scores.macro.n == 2
    assert rates(scores.weighted) == pytest.approx([3 / 4, 2 / 4, 3 / 5])
    #  a: P 1, R 2/3, F1 4/5;  b: 0;  c: nothing in it
    assert rates(scores.by_document) == pytest.approx([1 / 2, 1 / 3, 2 / 5])
    assert scores.by_document.n == 2
    assert set(scores.by_label) == {"DISEASE", "ADE", "ROUTE"}
    assert rates(score(golds, predicted, match="partial").macro) == pytest.approx(
        [(1 + 1 / 2) / 2, (2 / 3 + 1 / 2) / 2, (4 / 5 + 1 / 2) / 2]
    )


def test_averages_differ_where_labels_and_notes_do() -> None:
    scores = score(*random_corpus(20, 0.6))
    f1s = {scores.micro.counts.f1, scores.macro.f1, scores.weighted.f1, scores.by_document.f1}
    assert len({round(f1, 3) for f1 in f1s}) == 4


# --- nothing to score, and how scores are written ------------------------------------------------


def test_no_notes_score_nothing() -> None:
    scores = score([], {})
    assert (scores.n_notes, scores.by_label, scores.macro_f1) == (0, {}, 0)
    assert [scores.macro.n, scores.by_document.n, scores.weighted.f1] == [0, 0, 0]
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


def test_the_order_of_notes_and_entities_does_not_change_the_counts() -> None:
    golds, predicted = random_corpus(6, 0.5)
    expected = counts(score(golds, predicted))
    for shuffled in itertools.islice(itertools.permutations(golds), 0, 720, 90):
        mirrored = {note_id: found[::-1] for note_id, found in predicted.items()}
        assert counts(score(list(shuffled), mirrored)) == expected


def test_scores_are_plain_values_for_json_with_four_decimals() -> None:
    golds = [gold("a", (0, 5, "DISEASE"), (6, 9, "DISEASE"), (10, 14, "DISEASE"))]
    found = {"a": entities((0, 5, "DISEASE"), (6, 9, "DISEASE"))}
    rates = {"precision": 1.0, "recall": 0.6667, "f1": 0.8, "f1_low": 0.8, "f1_high": 0.8}
    row = rates | {"tp": 2, "fp": 0, "fn": 1}
    average = rates | {"n": 1}
    assert json.loads(json.dumps(score(golds, found).as_dict())) == {
        "match": "strict",
        "notes": 1,
        "micro": row,
        "macro_f1": 0.8,
        "macro": average,
        "weighted": average,
        "macro_by_document": average,
        "labels": {"DISEASE": row},
    }
    partial = score(golds, {"a": entities((0, 4, "DISEASE"))}, match="partial").as_dict()
    wanted = {"tp": 0, "half": 1, "fp": 0, "fn": 2}
    assert {key: partial["micro"][key] for key in ("tp", "half", "fp", "fn")} == wanted
