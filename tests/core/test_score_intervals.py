"""The intervals of scores, against scoring resampled notes one by one."""

from __future__ import annotations

import numpy as np
import pytest

from clin_edge.core.score import resamples, score
from score_cases import counts, entities, gold, random_corpus


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


@pytest.mark.parametrize("match", ["strict", "lenient", "partial"])
def test_every_interval_is_that_of_scoring_each_resample_as_if_it_were_the_corpus(match) -> None:
    """Exactly: the same notes drawn, each scored as often as it was drawn."""
    golds, predicted = random_corpus(9, 0.5)
    scores = score(golds, predicted, match=match, n_resamples=60)
    f1s = []
    for drawn in resamples(9, 60, 0).astype(int):
        notes = [item for item, n in zip(golds, drawn, strict=True) for _ in range(n)]
        one = score(notes, predicted, match=match, n_resamples=1)
        averages = one.macro.f1, one.weighted.f1, one.by_document.f1
        labels = [row.counts.f1 for row in one.by_label.values()]
        f1s.append([*labels, one.micro.counts.f1, *averages])
    low, high = np.percentile(f1s, [2.5, 97.5], axis=0)
    rows = [*scores.by_label.values(), scores.micro]
    rows += [scores.macro, scores.weighted, scores.by_document]
    assert [row.f1_low for row in rows] == pytest.approx(low.tolist(), abs=1e-12)
    assert [row.f1_high for row in rows] == pytest.approx(high.tolist(), abs=1e-12)


def test_each_resample_draws_as_many_notes_as_there_are() -> None:
    drawn = resamples(7, 500, 1)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
