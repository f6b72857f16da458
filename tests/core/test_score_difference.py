"""Differences of scores: paired, against scoring each resample, and told the right way round."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clin_edge.core.score import resamples, score
from clin_edge.core.score_difference import Difference, difference
from clin_edge.core.score_match import MATCHES
from score_cases import LABELS, counts, entities, gold, random_corpus


def two(n_notes: int = 12, hits: tuple[float, float] = (0.7, 0.5)):
    """Gold notes and two sets of predictions, found at random apart from each other."""
    golds, ours = random_corpus(n_notes, hits[0], seed=5)
    _, other = random_corpus(n_notes, hits[1], seed=6)
    return golds, ours, other


def gaps(made: Difference) -> list:
    return [*made.by_label.values(), made.micro, made.macro]


@pytest.mark.parametrize("match", MATCHES)
def test_a_difference_is_that_of_scoring_both_on_each_resample(match: str) -> None:
    golds, ours, other = two()
    made = difference(golds, ours, other, match=match, n_resamples=50)

    def f1s(notes: list, found: dict) -> list[float]:
        one = score(notes, found, match=match, n_resamples=1)
        labels = [row.counts.f1 for row in one.by_label.values()]
        return [*labels, one.micro.counts.f1, one.macro.f1]

    seen = np.subtract(f1s(golds, ours), f1s(golds, other))
    drawn = []
    for times in resamples(12, 50, 0).astype(int):
        notes = [item for item, n in zip(golds, times, strict=True) for _ in range(n)]
        drawn.append(np.subtract(f1s(notes, ours), f1s(notes, other)))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    lost = (np.array(drawn) * seen <= 1e-12).mean(axis=0)
    assert [gap.difference for gap in gaps(made)] == pytest.approx(seen.tolist())
    assert [gap.low for gap in gaps(made)] == pytest.approx(low.tolist(), abs=1e-12)
    assert [gap.high for gap in gaps(made)] == pytest.approx(high.tolist(), abs=1e-12)
    for gap, share in zip(gaps(made), lost.tolist(), strict=True):
        assert gap.flips == (pytest.approx(share) if gap.difference else None)
    assert list(made.by_label) == sorted(LABELS)
    assert (made.match, made.n_notes) == (match, 12)


def test_the_other_way_round_it_is_the_same_with_the_other_sign() -> None:
    golds, ours, other = two()
    forth, back = difference(golds, ours, other), difference(golds, other, ours)
    for one, two_ in zip(gaps(forth), gaps(back), strict=True):
        assert (one.f1, one.other_f1) == (two_.other_f1, two_.f1)
        assert (one.low, one.high) == pytest.approx((-two_.high, -two_.low))
        assert one.flips == two_.flips


def test_who_is_compared_with_himself_is_equal_and_no_one_is_better() -> None:
    golds, ours, _ = two()
    for gap in gaps(difference(golds, ours, ours)):
        assert (gap.difference, gap.low, gap.high, gap.flips) == (0, 0, 0, None)
        assert gap.holds_zero


def test_a_clear_lead_is_told_from_a_doubtful_one() -> None:
    clear = difference(*two(200, (0.9, 0.5))).micro
    assert clear.difference > 0.1
    assert 0 < clear.low < clear.difference < clear.high
    assert (clear.holds_zero, clear.flips) == (False, 0)
    doubtful = difference(*two(12, (0.6, 0.6))).micro
    assert doubtful.low < 0 < doubtful.high
    assert doubtful.holds_zero
    assert doubtful.flips > 0.05


def test_pairing_sees_what_two_intervals_apart_do_not() -> None:
    """Half of the notes are hopeless for both, and ours finds one entity more in each other."""
    places = [(10 * k, 10 * k + 5, "DISEASE") for k in range(5)]
    golds = [gold(f"n{i}", *places) for i in range(20)]
    ours = {f"n{i}": entities(*places[:4]) for i in range(0, 20, 2)}
    other = {f"n{i}": entities(*places[:3]) for i in range(0, 20, 2)}
    assert not difference(golds, ours, other).micro.holds_zero
    assert score(golds, ours).micro.f1_low < score(golds, other).micro.f1_high


def test_a_lead_that_is_only_kept_in_some_resamples() -> None:
    """One note of three decides: without it, in 8 of 27 draws, the two are equal."""
    golds = [gold(f"n{i}", (0, 5, "DISEASE")) for i in range(3)]
    right = {f"n{i}": entities((0, 5, "DISEASE")) for i in range(3)}
    made = difference(golds, right, {**right, "n0": ()}, n_resamples=4000).micro
    assert made.flips == pytest.approx(8 / 27, abs=0.02)
    assert made.low == 0
    assert made.holds_zero


def test_a_difference_as_plain_values_for_json() -> None:
    golds = [gold("a", (0, 5, "DISEASE"), (6, 9, "DISEASE"))]
    ours = {"a": entities((0, 5, "DISEASE"), (6, 9, "DISEASE"))}
    made = difference(golds, ours, {"a": entities((0, 5, "DISEASE"))})
    row = {"f1": 1.0, "other_f1": 0.6667, "difference": 0.3333, "low": 0.3333, "high": 0.3333}
    row |= {"holds_zero": False, "flips": 0.0}
    assert json.loads(json.dumps(made.as_dict())) == {
        "match": "strict",
        "notes": 1,
        "micro": row,
        "macro": row,
        "labels": {"DISEASE": row},
    }
    assert counts(score(golds, ours)) == (2, 0, 0)
    nothing = difference([], {}, {}).micro
    assert (nothing.difference, nothing.low, nothing.high, nothing.flips) == (0, 0, 0, None)


def test_a_way_of_matching_we_do_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="match is one of"):
        difference([], {}, {}, match="exact")
