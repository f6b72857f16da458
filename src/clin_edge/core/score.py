"""Entity scores: strict and lenient, by label, with intervals over documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.labelled import Labelled
from clin_edge.core.spans import Entity, alternatives

N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Entities found rightly (``tp``), wrongly (``fp``) and missed (``fn``)."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """Share of what was found that is right; 0 where nothing was found."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that was found; 0 where there are none."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """Counts and the 95 % interval of F1, by bootstrap over documents."""

    counts: Counts
    f1_low: float
    f1_high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """One row a gold label, and micro (all counts together); ``macro_f1`` averages the labels."""

    match: str
    by_label: Mapping[str, Row]
    micro: Row
    n_notes: int

    @property
    def macro_f1(self) -> float:
        """Mean F1 over labels."""
        rows = self.by_label.values()
        return sum(row.counts.f1 for row in rows) / len(rows) if rows else 0.0

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; four decimals."""
        rows = {label: _row_dict(row) for label, row in self.by_label.items()}
        return {
            "match": self.match,
            "notes": self.n_notes,
            "micro": _row_dict(self.micro),
            "macro_f1": round(self.macro_f1, 4),
            "labels": rows,
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
    A gold label ``A|B`` is met by A or by B. Strict: same start and end. Lenient: at least one
    character shared, each entity matched once (the n2c2 2018 scorer instead forgets a second
    prediction on a gold entity; here it is wrong).

    Intervals: 2.5th and 97.5th percentile of F1 over ``n_resamples`` resamplings of the notes.

    Raises:
        ValueError: If ``match`` is neither ``strict`` nor ``lenient``.
    """
    if match not in ("strict", "lenient"):
        raise ValueError(f"match is 'strict' or 'lenient', got {match!r}")
    labels = sorted({label for item in gold for label in item.marked})
    at = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(gold), len(labels), 3), dtype=np.int64)
    for d, item in enumerate(gold):
        found = predicted.get(item.note.id, ())
        for label, column in _compare(item, found, strict=match == "strict"):
            counts[d, at[label], column] += 1
    draws = _draws(len(gold), n_resamples, seed)
    return Scores(
        match,
        {label: _row(counts[:, i], draws) for i, label in enumerate(labels)},
        _row(counts.sum(axis=1), draws),
        len(gold),
    )


_TP, _FP, _FN = range(3)


@lru_cache(maxsize=4)
def _draws(n_notes: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Give how often each resample (R, D) holds each note: the same ones for every prediction."""
    n = max(n_notes, 1)
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_resamples)[:, :n_notes]


def _compare(item: Labelled, found: Sequence[Entity], *, strict: bool) -> Iterator[tuple[str, int]]:
    """Yield the label and kind (true or false positive, false negative) of every entity."""
    # Two predictions that would count under one label at one place are one.
    left: dict[tuple[int, int, str], frozenset[str]] = {}
    at_place: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    for entity in found:
        row = _row_of(entity.label, item.marked)
        if row is None:
            continue
        key = (entity.span.start, entity.span.end, row)
        if key not in left:
            left[key] = _meant(entity.label)
            at_place.setdefault(key[:2], []).append(key)
    # Earliest end first is the best one-to-one matching where neither side overlaps itself;
    # at one place, a gold label of few alternatives chooses before one of many.
    wanted = {(e.span.start, e.span.end, e.label) for e in item.entities}
    for start, end, label in sorted(wanted, key=lambda g: (g[1], len(_meant(g[2])), g)):
        gold_row = _row_of(label, item.marked)
        if gold_row is None:
            continue
        near = (
            at_place.get((start, end), ())
            if strict
            else [key for key in left if key[0] < end and start < key[1]]
        )
        meant = _meant(label)
        meets = [key for key in near if key in left and not meant.isdisjoint(left[key])]
        if meets:
            del left[min(meets, key=lambda key: (key[1], key[2] != label, key))]
        yield gold_row, _TP if meets else _FN
    for *_, row in left:
        yield row, _FP


@lru_cache(maxsize=1024)
def _meant(label: str) -> frozenset[str]:
    return frozenset(alternatives(label))


@lru_cache(maxsize=1024)
def _row_of(label: str, marked: frozenset[str]) -> str | None:
    """Give the gold label a prediction counts under; None if the set does not mark it."""
    if label in marked:
        return label
    return next((m for m in sorted(marked) if _meant(label) & _meant(m)), None)


def _row(counts: NDArray[np.int64], draws: NDArray[np.int64]) -> Row:
    """Sum counts (D, 3) into a row, with F1's interval over resampled documents (R, D)."""
    tp, fp, fn = (draws @ counts).T
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    low, high = np.percentile(f1, [2.5, 97.5])
    return Row(Counts(*counts.sum(axis=0).tolist()), float(low), float(high))


def _row_dict(row: Row) -> dict[str, float]:
    counts = row.counts
    return {
        "precision": round(counts.precision, 4),
        "recall": round(counts.recall, 4),
        "f1": round(counts.f1, 4),
        "f1_low": round(row.f1_low, 4),
        "f1_high": round(row.f1_high, 4),
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
    }
