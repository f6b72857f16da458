"""Scores as text: every figure is there, within 100 columns, and the verdict is the right one."""

from __future__ import annotations

import pytest

from clin_edge.core.score import Counts, score
from clin_edge.core.score_difference import Difference, Gap, difference
from clin_edge.core.score_match import MATCHES
from clin_edge.export.score_table import table, verdict, versus_table
from score_cases import LABELS, entities, gold, random_corpus

LONG = "A_LABEL_OF_FORTY_CHARACTERS_AND_SOME_MORE"


def test_the_table_has_a_line_a_label_and_one_an_average() -> None:
    golds, predicted = random_corpus(20, 0.6)
    scores = {match: score(golds, predicted, match=match) for match in MATCHES}
    lines = table(scores)
    strict, lenient, partial = scores.values()
    assert lines[0] == (
        f"20 notes, {strict.micro.counts.gold} gold entities, {strict.micro.counts.found} found"
    )
    averages = ("micro", "macro by label", "weighted by gold", "macro by document")
    for name, line in zip([*sorted(LABELS), *averages], lines[3:], strict=False):
        rows = [
            {**one.by_label, **dict(zip(averages, together(one), strict=True))}[name]
            for one in (strict, lenient, partial)
        ]
        rates = [getattr(row, "counts", row) for row in rows]
        cells = [f"{rates[0].gold}"] if isinstance(rates[0], Counts) else []
        for row, of in zip(rows[:2], rates[:2], strict=True):
            cells += [f"{of.precision:.3f}", f"{of.recall:.3f}", f"{of.f1:.3f}"]
            cells.append(f"{row.f1_low:.3f}–{row.f1_high:.3f}")
        assert line.removeprefix(f"  {name}").split() == [*cells, f"{rates[2].f1:.3f}"]
    assert "macro: mean over 3 labels" in lines[-1]
    assert "the 20 notes" in lines[-1]
    assert max(map(len, lines)) <= 100


def together(scores) -> list:
    return [scores.micro, scores.macro, scores.weighted, scores.by_document]


def test_a_table_is_never_wider_than_100_columns() -> None:
    golds = [gold(f"n{i}", (0, 5, LONG), (6, 9, "ADE"), marked=(LONG, "ADE")) for i in range(1200)]
    found = {f"n{i}": entities((0, 5, LONG)) for i in range(1200)}
    scores = {match: score(golds, found, match=match, n_resamples=3) for match in MATCHES}
    versus = {match: difference(golds, found, {}, match=match, n_resamples=3) for match in MATCHES}
    lines = [*table(scores), *versus_table(versus)]
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith(f"  {LONG[:18]} ") for line in lines) == 2


def test_a_difference_has_a_line_a_label_and_micro_and_macro_of_each_match() -> None:
    golds, ours = random_corpus(12, 0.7, seed=5)
    _, other = random_corpus(12, 0.5, seed=6)
    versus = {match: difference(golds, ours, other, match=match) for match in MATCHES}
    lines = versus_table(versus)
    assert lines[0] == verdict(versus["strict"])
    rows = [(label, "strict", gap) for label, gap in versus["strict"].by_label.items()]
    for match, one in versus.items():
        rows += [("micro", match, one.micro), ("macro by label", match, one.macro)]
    for (name, match, gap), line in zip(rows, lines[2:-1], strict=True):
        flips = [] if gap.flips is None else [f"{100 * gap.flips:.1f}", "%"]
        assert line.removeprefix(f"  {name}").split() == [
            *(match, f"{gap.f1:.3f}", f"{gap.other_f1:.3f}", f"{gap.difference:+.3f}"),
            *(f"{gap.low:+.3f}", "to", f"{gap.high:+.3f}", *flips),
        ]


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (
            Gap(0.9, 0.8, 0.05, 0.15, 0.0),
            "WHAT leads by 0.1000; 95 % +0.0500 to +0.1500 does not hold 0",
        ),
        (
            Gap(0.8, 0.9, -0.15, 0.02, 0.1),
            "OTHER leads by 0.1000; 95 % -0.1500 to +0.0200 holds 0, perhaps luck",
        ),
        (Gap(0.8, 0.8, -0.1, 0.1, None), "WHAT and OTHER are equal; 95 % -0.1000 to +0.1000"),
    ],
)
def test_the_verdict_says_who_is_better_and_whether_one_can_know(gap: Gap, said: str) -> None:
    line = verdict(Difference("strict", {}, gap, gap, 12345))
    assert line == f"strict micro F1, 12,345 notes: {said}"
    assert len(line) <= 100
