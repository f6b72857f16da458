"""Our scores against those of seqeval and nervaluate, written down by benchmarks/peers_scores.py.

Where the definitions coincide they agree to 1e-9; where they do not, that is tested too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import Average, Row, Scores, score
from clin_edge.core.spans import Entity, Span

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/peers_scores.json").read_text(encoding="utf-8")
)
CASES = {case["name"]: case for case in GOLDEN["cases"]}


def entities_of(tags: str) -> tuple[Entity, ...]:
    """Read valid IOB2 tags, a token one character wide."""
    found: list[Entity] = []
    for i, tag in enumerate(tags.split()):
        if tag.startswith("B-"):
            found.append(Entity(Span(i, i + 1), tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = replace(found[-1], span=Span(found[-1].span.start, i + 1))
    return tuple(found)


def corpus_of(case: dict, label: str | None = None):
    """Gold notes and predictions of a case; all of one ``label``, if one is given."""
    sides = [[entities_of(tags) for tags in case[side]] for side in ("gold", "predicted")]
    if label:
        sides = [[tuple(replace(e, label=label) for e in es) for es in side] for side in sides]
    marked = frozenset(e.label for side in sides for es in side for e in es)
    golds = [Labelled(Note(f"n{i}", "x" * 30), es, marked) for i, es in enumerate(sides[0])]
    return golds, {f"n{i}": es for i, es in enumerate(sides[1])}


def scored(case: dict, match: str, label: str | None = None) -> Scores:
    return score(*corpus_of(case, label), match=match, n_resamples=1)


def rates(row: Row | Average) -> list[float]:
    of = row.counts if isinstance(row, Row) else row
    return [of.precision, of.recall, of.f1]


def agree(ours: list[float], theirs: list[float]) -> None:
    assert ours == pytest.approx(theirs, abs=1e-9, rel=0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_strict_is_seqeval_s_strict_mode(case: dict) -> None:
    ours, theirs = scored(case, "strict"), case["seqeval"]
    assert list(ours.by_label) == list(theirs["types"])
    for label, row in ours.by_label.items():
        agree([*rates(row), row.counts.gold], theirs["types"][label])
    if theirs["types"]:  # of nothing seqeval has no averages
        gold = ours.micro.counts.gold
        agree([*rates(ours.micro), gold], theirs["micro"])
        agree([*rates(ours.macro), gold], theirs["macro"])
        agree([*rates(ours.weighted), gold], theirs["weighted"])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_strict_is_nervaluate_s_strict(case: dict) -> None:
    ours, theirs = scored(case, "strict"), case["nervaluate"]
    agree(rates(ours.micro), theirs["overall"]["strict"][5:])
    assert set(ours.by_label) == set(theirs["types"])
    for label, row in ours.by_label.items():
        agree(rates(row), theirs["types"][label]["strict"][5:])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_partial_of_a_label_is_nervaluate_s_of_that_tag(case: dict) -> None:
    for label, row in scored(case, "partial").by_label.items():
        theirs = case["nervaluate"]["types"][label]["partial"]
        correct, incorrect, half, missed, spurious = theirs[:5]
        counts = row.counts
        assert incorrect == 0
        assert (counts.tp, counts.half, counts.fn, counts.fp) == (correct, half, missed, spurious)
        agree(rates(row), theirs[5:])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nervaluate_s_exact_and_partial_overall_are_ours_with_one_label_for_all(case: dict) -> None:
    """They look at no label at all: theirs is no score of ours, unless we look at none either."""
    overall = case["nervaluate"]["overall"]
    agree(rates(scored(case, "strict", "ANY").micro), overall["exact"][5:])
    agree(rates(scored(case, "partial", "ANY").micro), overall["partial"][5:])


def test_where_labels_are_mixed_up_the_two_partials_differ() -> None:
    case = CASES["all labels wrong"]
    assert case["nervaluate"]["overall"]["partial"][7] == 1
    assert scored(case, "partial").micro.counts.f1 == 0


def pairs_are_plain(case: dict, label: str) -> bool:
    """Tell whether no prediction of the label overlaps two gold entities of it."""
    golds, predicted = corpus_of(case)
    return all(
        sum(p.span.overlaps(g.span) for g in item.entities if g.label == label) < 2
        for item in golds
        for p in predicted[item.note.id]
        if p.label == label
    )


def test_lenient_of_a_label_is_nervaluate_s_ent_type_but_for_pairs_that_it_misses() -> None:
    """Its choice for a prediction over two gold entities, the closest, may leave one alone."""
    n_equal = n_missed = 0
    for case in CASES.values():
        for label, row in scored(case, "lenient").by_label.items():
            theirs = case["nervaluate"]["types"][label]["ent_type"]
            if pairs_are_plain(case, label):
                agree(rates(row), theirs[5:])
                n_equal += 1
            else:
                assert row.counts.tp >= theirs[0]
                n_missed += row.counts.tp - theirs[0]
    assert n_equal > 50
    assert n_missed > 0


def test_the_golden_file_is_what_it_should_be() -> None:
    assert GOLDEN["versions"]["seqeval"] == "1.2.2"
    assert GOLDEN["versions"]["nervaluate"] == "1.2.1"
    assert len(CASES) == len(GOLDEN["cases"]) > 40
    assert max(len(note.split()) for case in CASES.values() for note in case["gold"]) <= 30
