"""Whether one set of predictions scores better than another, over the luck of the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.labelled import Labelled
from clin_edge.core.score import N_RESAMPLES, rates_of, resamples
from clin_edge.core.score_match import tally
from clin_edge.core.spans import Entity


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the F1 of ours lies above that of the other, with its 95 % interval.

    ``flips`` is the share of resamples in which the better one is not better; None if neither is.
    """

    f1: float
    other_f1: float
    low: float
    high: float
    flips: float | None

    @property
    def difference(self) -> float:
        """Ours less the other's."""
        return self.f1 - self.other_f1

    @property
    def holds_zero(self) -> bool:
        """Tell whether the interval leaves open which is better."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True, slots=True)
class Difference:
    """A gap for each gold label, for all counts together and for the mean over labels."""

    match: str
    by_label: Mapping[str, Gap]
    micro: Gap
    macro: Gap
    n_notes: int

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; four decimals."""
        return {
            "match": self.match,
            "notes": self.n_notes,
            "micro": _gap_dict(self.micro),
            "macro": _gap_dict(self.macro),
            "labels": {label: _gap_dict(gap) for label, gap in self.by_label.items()},
        }


def difference(
    gold: Sequence[Labelled],
    ours: Mapping[str, Sequence[Entity]],
    other: Mapping[str, Sequence[Entity]],
    *,
    match: str = "strict",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare two sets of predictions (by note id) of the same gold notes.

    The bootstrap is paired: each resample of the notes scores both, so what makes a note hard for
    both does not blur the difference. Matching and the drawing of notes are those of ``score``.

    Raises:
        ValueError: If ``match`` is not a way to match.
    """
    weights = np.concatenate([np.ones((1, len(gold))), resamples(len(gold), n_resamples, seed)])
    tallies = [tally(gold, found, match) for found in (ours, other)]
    f1s, other_f1s = (rates_of(tallied, weights)[..., 2] for tallied in tallies)
    labels = tallies[0].labels
    gaps = [_gap(f1s[:, i], other_f1s[:, i]) for i in range(len(labels) + 2)]
    by_label = dict(zip(labels, gaps, strict=False))
    return Difference(match, by_label, gaps[-2], gaps[-1], len(gold))


def _gap(f1: NDArray[np.float64], other: NDArray[np.float64]) -> Gap:
    """Make a gap of the F1 on all notes, which comes first, and those on the resamples."""
    seen, *drawn = (f1 - other).tolist()
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    flips = sum(one * seen <= 0 for one in drawn) / len(drawn) if seen else None
    return Gap(float(f1[0]), float(other[0]), low, high, flips)


def _gap_dict(gap: Gap) -> dict[str, float | bool | None]:
    return {
        "f1": round(gap.f1, 4),
        "other_f1": round(gap.other_f1, 4),
        "difference": round(gap.difference, 4),
        "low": round(gap.low, 4),
        "high": round(gap.high, 4),
        "holds_zero": gap.holds_zero,
        "flips": None if gap.flips is None else round(gap.flips, 4),
    }
