"""Where two bundles read the same notes differently: spans lost, gained, moved, relabelled."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.score import N_RESAMPLES, resamples
from clin_edge.core.spans import Entity
from clin_edge.runtime.diff_pairs import NotePairs, pair_spans
from clin_edge.runtime.pipeline import Pipeline

MAX_CHANGE = 0.01
MAX_LABEL_CHANGE = 0.02
JUDGED_SPANS = 100
"""A label is held to a limit of its own if the old bundle finds at least so many spans of it."""

# Of the kinds in the order of ``Changes``: how many spans of the two sides each is, and how many of
# these the other side does not have.
_SPANS = np.array([2, 2, 1, 1, 1, 1])
_UNSHARED = np.array([0, 2, 1, 1, 1, 1])
_STEP = 10  # resamples drawn at a time: drawn all at once they would take 8 kB a note


@dataclass(frozen=True, slots=True)
class Changes:
    """How many spans of one label, or of all, became what.

    ``relabelled_out`` had this label in the old bundle and has another in the new one;
    ``relabelled_in`` has it in the new one and had another. Over all labels the two are equal.
    """

    same: int
    moved: int
    relabelled_out: int
    relabelled_in: int
    lost: int
    gained: int

    @property
    def old(self) -> int:
        """How many spans the old bundle finds."""
        return self.same + self.moved + self.relabelled_out + self.lost

    @property
    def new(self) -> int:
        """How many spans the new bundle finds."""
        return self.same + self.moved + self.relabelled_in + self.gained

    @property
    def change(self) -> float:
        """Share of the spans of both sides that the other side lacks: 1 less the agreement.

        0 where neither side has any. One division of whole numbers, so that 2 of 200 are exactly a
        limit of 0.01.
        """
        both = self.old + self.new
        return (both - 2 * self.same) / both if both else 0.0

    @property
    def agreement(self) -> float:
        """Span F1 of the new bundle with the old one as gold, or the reverse: it is the same."""
        return 1.0 - self.change


@dataclass(frozen=True, slots=True)
class Row:
    """Changes, and the 95 % interval of their agreement, by bootstrap over notes."""

    changes: Changes
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Give plain values for JSON; four decimals."""
        changes = self.changes
        return {
            "old": changes.old,
            "new": changes.new,
            **{name: getattr(changes, name) for name in Changes.__slots__},
            "agreement": round(changes.agreement, 4),
            "agreement_low": round(self.low, 4),
            "agreement_high": round(self.high, 4),
        }


@dataclass(frozen=True, slots=True)
class NoteChanges:
    """How many spans of one note changed; a pair counts once. No text."""

    id: str
    moved: int
    relabelled: int
    lost: int
    gained: int

    @property
    def total(self) -> int:
        """All changes together."""
        return self.moved + self.relabelled + self.lost + self.gained


@dataclass(frozen=True, slots=True)
class Diff:
    """How the spans of two bundles differ on some notes. It holds no text.

    Attributes:
        by_label: A row for each label of either bundle: the old one's in order, then what is new.
        total: All labels together.
        relabelled: How often each old label became each new one, most often first.
        worst: The notes with most changes, most first, earlier notes before later.
        n_notes: How many notes were read.
        n_changed: In how many of them something changed.
        only_old: Labels that the new bundle does not know.
        only_new: Labels that the old bundle did not know.
    """

    by_label: Mapping[str, Row]
    total: Row
    relabelled: Mapping[tuple[str, str], int]
    worst: tuple[NoteChanges, ...]
    n_notes: int
    n_changed: int
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; no text."""
        relabelled: dict[str, dict[str, int]] = {}
        for (old, new), count in self.relabelled.items():
            relabelled.setdefault(old, {})[new] = count
        return {
            "notes": self.n_notes,
            "changed_notes": self.n_changed,
            "labels_only_in_old": list(self.only_old),
            "labels_only_in_new": list(self.only_new),
            "total": self.total.as_dict(),
            "labels": {label: row.as_dict() for label, row in self.by_label.items()},
            "relabelled": relabelled,
            "worst": [
                {name: getattr(note, name) for name in NoteChanges.__slots__} for note in self.worst
            ],
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest change (1 less the agreement) that passes: of all labels, and of one label.

    The second holds for labels with at least ``JUDGED_SPANS`` spans in the old bundle's answer.

    Raises:
        ValueError: If a limit leaves [0, 1].
    """

    total: float = MAX_CHANGE
    label: float = MAX_LABEL_CHANGE

    def __post_init__(self) -> None:
        """Refuse what is no share, NaN included."""
        for limit in (self.total, self.label):
            if not 0.0 <= limit <= 1.0:
                raise ValueError(f"a limit is a number from 0 to 1, got {limit}")

    def total_exceeded(self, diff: Diff) -> bool:
        """Tell whether all labels together changed too much."""
        return diff.total.changes.change > self.total

    def labels_exceeded(self, diff: Diff) -> tuple[str, ...]:
        """Give the labels that changed too much."""
        rows = ((label, row.changes) for label, row in diff.by_label.items())
        return tuple(
            label
            for label, changes in rows
            if changes.old >= JUDGED_SPANS and changes.change > self.label
        )


def diff_bundles(old: Pipeline, new: Pipeline, notes: Iterable[Note], *, n_worst: int = 10) -> Diff:
    """Read notes with two bundles, lazily, and say how what they find differs.

    Of a note only its counts are kept (24 bytes a label), and the ids of the worst.

    Raises:
        InputError: If there is no note, or ``notes`` raises it.
        ClinEdgeError: If a bundle fails on a note.
    """
    for_old, for_new = tee(notes)
    # Strict: a failure of ``notes`` may reach only one of the two, and the other just ends.
    readings = zip(old.annotate(for_old), new.annotate(for_new), strict=True)
    found = ((note.id, before, after) for (note, before), (_, after) in readings)
    labels = (pipeline.bundle.manifest.scheme.types for pipeline in (old, new))
    return compare(found, *labels, n_worst=n_worst)


def compare(
    found: Iterable[tuple[str, Sequence[Entity], Sequence[Entity]]],
    old_labels: Sequence[str],
    new_labels: Sequence[str],
    *,
    n_worst: int = 10,
    n_resamples: int = N_RESAMPLES,
) -> Diff:
    """Compare two answers to the same notes, note by note, over the union of their labels.

    Intervals: 2.5th and 97.5th percentile of the agreement over ``n_resamples`` resamplings of the
    notes, always the same ones. A resample without a span of the label counts as agreement.

    Args:
        found: Note id, entities of the old side, and of the new one. Read once.
        old_labels: All that the old side knows.
        new_labels: All that the new side knows.
        n_worst: How many notes to name.
        n_resamples: At least 1.

    Raises:
        InputError: If there is no note.
        KeyError: If an entity bears a label that neither side knows.
    """
    only_new = tuple(label for label in new_labels if label not in old_labels)
    column = {label: i for i, label in enumerate((*old_labels, *only_new))}
    counts: list[NDArray[np.uint32]] = []
    relabelled: Counter[tuple[str, str]] = Counter()
    worst: list[NoteChanges] = []
    n_changed = 0
    for note_id, old, new in found:
        pairs = pair_spans(old, new)
        counts.append(_count(pairs, column))
        relabelled.update((before[2], after[2]) for before, after in pairs.relabelled)
        changes = NoteChanges(
            id=note_id,
            moved=len(pairs.moved),
            relabelled=len(pairs.relabelled),
            lost=len(pairs.lost),
            gained=len(pairs.gained),
        )
        if changes.total:
            n_changed += 1
            # Stable: of equals the earlier stays.
            worst = heapq.nlargest(n_worst, [*worst, changes], key=lambda note: note.total)
    if not counts:
        raise InputError("there is no note to compare the bundles on")
    notes = np.stack(counts)
    low, high = _intervals(notes, n_resamples).tolist()
    by_label = [Changes(*row) for row in notes.sum(axis=0).tolist()]
    total = Changes(*notes.sum(axis=(0, 1)).tolist())
    rows = [Row(*one) for one in zip([*by_label, total], low, high, strict=True)]
    return Diff(
        by_label=dict(zip(column, rows, strict=False)),
        total=rows[-1],
        relabelled=dict(sorted(relabelled.items(), key=lambda one: (-one[1], one[0]))),
        worst=tuple(worst),
        n_notes=len(notes),
        n_changed=n_changed,
        only_old=tuple(label for label in old_labels if label not in new_labels),
        only_new=only_new,
    )


def _count(pairs: NotePairs, column: Mapping[str, int]) -> NDArray[np.uint32]:
    """Count one note's spans by label and by kind, (L, 6)."""
    by_kind = (
        pairs.same,
        [old for old, _ in pairs.moved],
        [old for old, _ in pairs.relabelled],
        [new for _, new in pairs.relabelled],
        pairs.lost,
        pairs.gained,
    )
    counts = np.zeros((len(column), len(by_kind)), np.uint32)
    for kind, places in enumerate(by_kind):
        for *_, label in places:
            counts[column[label], kind] += 1
    return counts


def _intervals(counts: NDArray[np.uint32], n_resamples: int) -> NDArray[np.float64]:
    """Bound the agreement of each label and of all (2, L + 1), given (D, L, 6) counts."""
    rows = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    spans, unshared = (rows @ _SPANS).astype(float), (rows @ _UNSHARED).astype(float)
    drawn = []
    for seed, done in enumerate(range(0, n_resamples, _STEP)):
        weights = resamples(len(rows), min(_STEP, n_resamples - done), seed)
        drawn.append((weights @ unshared) / np.maximum(weights @ spans, 1))
    bounds: NDArray[np.float64] = np.percentile(np.concatenate(drawn), [97.5, 2.5], axis=0)
    return 1.0 - bounds
