"""Entity scores: strict, lenient and partial, by label and averaged, with intervals over notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.labelled import Labelled
from clin_edge.core.score_match import Tally, tally
from clin_edge.core.spans import Entity

N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Entities found rightly (``tp``), wrongly (``fp``) and missed (``fn``).

    ``half`` are pairs worth one half each, which only the partial match knows.
    """

    tp: int
    fp: int
    fn: int
    half: int = 0

    @property
    def found(self) -> int:
        """How many predictions there are."""
        return self.tp + self.half + self.fp

    @property
    def gold(self) -> int:
        """How many gold entities there are."""
        return self.tp + self.half + self.fn

    @property
    def precision(self) -> float:
        """Share of what was found that is right; 0 where nothing was found."""
        return (self.tp + self.half / 2) / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that was found; 0 where there are none."""
        return (self.tp + self.half / 2) / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        both = self.found + self.gold
        return (2 * self.tp + self.half) / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """Counts and the 95 % interval of F1, by bootstrap over documents."""

    counts: Counts
    f1_low: float
    f1_high: float


@dataclass(frozen=True, slots=True)
class Average:
    """Means of precision, recall and F1 over ``n`` labels or notes, and F1's 95 % interval."""

    precision: float
    recall: float
    f1: float
    f1_low: float
    f1_high: float
    n: int


@dataclass(frozen=True, slots=True)
class Scores:
    """One row a gold label, and four ways to see them together.

    Attributes:
        match: ``strict``, ``lenient`` or ``partial``.
        by_label: A row for each label that the gold notes mark.
        micro: All counts together.
        macro: Mean over the labels of which there is a gold entity or a prediction.
        weighted: Mean over labels, weighted by their gold entities.
        by_document: Mean over the notes that have a gold entity or a prediction.
        n_notes: How many notes there are.
    """

    match: str
    by_label: Mapping[str, Row]
    micro: Row
    macro: Average
    weighted: Average
    by_document: Average
    n_notes: int

    @property
    def macro_f1(self) -> float:
        """Mean F1 over labels."""
        return self.macro.f1

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; four decimals."""
        return {
            "match": self.match,
            "notes": self.n_notes,
            "micro": self._row_dict(self.micro),
            "macro_f1": round(self.macro_f1, 4),
            "macro": _average_dict(self.macro),
            "weighted": _average_dict(self.weighted),
            "macro_by_document": _average_dict(self.by_document),
            "labels": {label: self._row_dict(row) for label, row in self.by_label.items()},
        }

    def _row_dict(self, row: Row) -> dict[str, float]:
        counts = row.counts
        return {
            "precision": round(counts.precision, 4),
            "recall": round(counts.recall, 4),
            "f1": round(counts.f1, 4),
            "f1_low": round(row.f1_low, 4),
            "f1_high": round(row.f1_high, 4),
            "tp": counts.tp,
            **({"half": counts.half} if self.match == "partial" else {}),
            "fp": counts.fp,
            "fn": counts.fn,
        }


def score(
    gold: Sequence[Labelled],
    predicted: Mapping[str, Sequence[Entity]],
    *,
    match: str = "strict",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score predictions (by note id) against gold notes.

    A prediction whose label the gold set does not mark is left out: its absence there says nothing.
    A gold label ``A|B`` is met by A or by B. Each entity is matched once.

    - Strict: same start, same end, right label.
    - Lenient: at least one character shared, right label (the n2c2 2018 scorer instead forgets a
      second prediction on a gold entity; here it is wrong).
    - Partial: strict first; what then remains is paired as in lenient, for half a point. Where
      neither gold nor predictions overlap themselves, its precision, recall and F1 are the means
      of strict's and lenient's.

    SemEval-2013 task 9.1 calls ``partial`` what gives 1 for the right ends and 1/2 for an overlap
    *whatever the label*, and ``type`` what gives 1 for an overlap with the right label; nervaluate
    has both, the second as ``ent_type``. Our partial asks for the right label too. So it is
    nervaluate's ``partial`` of one tag, of which the label is always right, but not its overall
    figure; and our lenient is its ``ent_type`` of one tag, save that a prediction over two gold
    entities there takes the closest and may so leave another prediction without one.

    ``by_document`` is the macro average of the n2c2 2018 scorer, but that notes with neither gold
    entity nor prediction are left out: there is nothing in them to be right about. Likewise
    ``macro`` leaves out labels of which there is neither, as seqeval does.

    Intervals: 2.5th and 97.5th percentile of F1 over ``n_resamples`` resamplings of the notes.

    Raises:
        ValueError: If ``match`` is none of the three.
    """
    tallied = tally(gold, predicted, match)
    weights = np.concatenate([np.ones((1, len(gold))), resamples(len(gold), n_resamples, seed)])
    rates = rates_of(tallied, weights)
    low, high = np.percentile(rates[1:, :, 2], [2.5, 97.5], axis=0)
    by_label = tallied.counts.sum(axis=0)
    n_labels = len(tallied.labels)

    def row(i: int, counts: NDArray[np.int64]) -> Row:
        tp, half, fp, fn = counts.tolist()
        return Row(Counts(tp, fp, fn, half), float(low[i]), float(high[i]))

    def average(i: int, n: int) -> Average:
        precision, recall, f1 = rates[0, i].tolist()
        return Average(precision, recall, f1, float(low[i]), float(high[i]), n)

    occurring = int(by_label.any(axis=1).sum())
    return Scores(
        match=match,
        by_label={label: row(i, by_label[i]) for i, label in enumerate(tallied.labels)},
        micro=row(n_labels, by_label.sum(axis=0)),
        macro=average(n_labels + 1, occurring),
        weighted=average(n_labels + 2, occurring),
        by_document=average(n_labels + 3, int(tallied.counts.any(axis=(1, 2)).sum())),
        n_notes=len(gold),
    )


@lru_cache(maxsize=4)
def resamples(n_notes: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Give how often each resample (R, D) holds each note: the same ones for every prediction."""
    n = max(n_notes, 1)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_resamples)
    return drawn[:, :n_notes].astype(np.float64)


def rates_of(tallied: Tally, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give precision, recall and F1 for each way to weigh the notes: (W, L + 4, 3).

    The L labels come first, then micro, macro, weighted and by document; all as ``score`` says.

    Args:
        tallied: Counts of D notes and L labels.
        weights: How often each note counts (W, D).
    """
    n_notes, n_labels, n_kinds = tallied.counts.shape
    # In floats numpy multiplies matrices many times faster, and whole numbers stay exact.
    flat = tallied.counts.reshape(n_notes, n_labels * n_kinds).astype(np.float64)
    sums = (weights @ flat).reshape(len(weights), n_labels, n_kinds)
    by_label, golds = _rates(sums), sums[..., [0, 1, 3]].sum(axis=-1)
    occurs = sums.any(axis=-1)
    notes = tallied.counts.sum(axis=1)
    by_note = np.concatenate([_rates(notes), notes.any(axis=-1, keepdims=True)], axis=-1)
    weighed = weights @ by_note
    ways = [
        _rates(sums.sum(axis=1)),
        by_label.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)[:, None],
        (by_label * golds[..., None]).sum(axis=1) / np.maximum(golds.sum(axis=1), 1)[:, None],
        weighed[:, :3] / np.maximum(weighed[:, 3:], 1),
    ]
    return np.concatenate([by_label, np.stack(ways, axis=1)], axis=1)


def _rates(counts: NDArray[np.number]) -> NDArray[np.float64]:
    """Give precision, recall and F1 (…, 3) of counts (…, 4)."""
    tp, half, fp, fn = (counts[..., i] for i in range(4))
    right = tp + half / 2
    found, gold = tp + half + fp, tp + half + fn
    both = np.maximum(found + gold, 1)
    return np.stack(
        [right / np.maximum(found, 1), right / np.maximum(gold, 1), 2 * right / both], axis=-1
    )


def _average_dict(average: Average) -> dict[str, float]:
    rounded = {
        name: round(getattr(average, name), 4)
        for name in ("precision", "recall", "f1", "f1_low", "f1_high")
    }
    return rounded | {"n": average.n}
