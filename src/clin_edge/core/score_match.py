"""Which predictions meet which gold entities, and how many of each label do, note by note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.labelled import Labelled
from clin_edge.core.spans import Entity, alternatives

TP, HALF, FP, FN = range(4)
Place = tuple[int, int, str]
"""Start, end and the label under which an entity counts."""

# Each pass pairs what the passes before it left: whether both ends must be right, and what a pair
# is then worth.
_PASSES = {
    "strict": ((True, TP),),
    "lenient": ((False, TP),),
    "partial": ((True, TP), (False, HALF)),
}
MATCHES = tuple(_PASSES)


@dataclass(frozen=True, slots=True)
class Matching:
    """What became of one note's entities.

    ``met`` holds gold, prediction and ``TP`` or ``HALF`` of each pair; the others are ``missed``
    (gold) and ``invented`` (predictions). Entities whose label the note does not mark are nowhere.
    """

    met: list[tuple[Place, Place, int]]
    missed: list[Place]
    invented: list[Place]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How many entities of each label were ``TP``, ``HALF``, ``FP`` and ``FN`` in each note.

    ``labels`` are all that some gold note marks, L in sorted order; ``counts`` is (D, L, 4).
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]


def tally(gold: Sequence[Labelled], predicted: Mapping[str, Sequence[Entity]], match: str) -> Tally:
    """Count what became of all entities; ``score`` tells how they are matched.

    Raises:
        ValueError: If ``match`` is not one of ``MATCHES``.
    """
    if match not in MATCHES:
        raise ValueError(f"match is one of {', '.join(MATCHES)}, got {match!r}")
    labels = tuple(sorted({label for item in gold for label in item.marked}))
    column = {label: 4 * i for i, label in enumerate(labels)}
    cells: list[int] = []
    for d, item in enumerate(gold):
        note = 4 * len(labels) * d
        matching = match_note(item, predicted.get(item.note.id, ()), match)
        cells += [note + column[g[2]] + kind for g, _, kind in matching.met]
        cells += [note + column[g[2]] + FN for g in matching.missed]
        cells += [note + column[p[2]] + FP for p in matching.invented]
    shape = (len(gold), len(labels), 4)
    n_cells = len(gold) * len(labels) * 4
    counted = np.bincount(np.array(cells, dtype=np.int64), minlength=n_cells)
    return Tally(labels, counted.reshape(shape))


def match_note(item: Labelled, found: Sequence[Entity], match: str) -> Matching:
    """Pair the gold entities of one note with what was found in it, each at most once."""
    # Two predictions that would count under one label at one place are one.
    left: dict[Place, frozenset[str]] = {}
    at_place: dict[tuple[int, int], list[Place]] = {}
    for entity in found:
        row = _row_of(entity.label, item.marked)
        if row is not None:
            start, end = entity.span.start, entity.span.end
            key = (start, end, row)
            if key not in left:
                at_place.setdefault((start, end), []).append(key)
            left[key] = meant(entity.label) | left.get(key, frozenset())
    # Earliest end first is the best one-to-one matching where neither side overlaps itself;
    # at one place, a gold label of few alternatives chooses before one of many.
    unmet = sorted(
        {
            (entity.span.end, len(meant(entity.label)), entity.span.start, entity.label, row)
            for entity in item.entities
            if (row := _row_of(entity.label, item.marked)) is not None
        }
    )
    met: list[tuple[Place, Place, int]] = []
    for both_ends, kind in _PASSES[match]:
        waiting, unmet = unmet, []
        for gold in waiting:
            end, _, start, label, row = gold
            near: Iterable[Place]
            if both_ends:
                near = at_place.get((start, end), ())
            else:
                near = [key for key in left if key[0] < end and start < key[1]]
            meets = [
                (key[1], key[2] != label, key)
                for key in near
                if key in left and not left[key].isdisjoint(meant(label))
            ]
            if meets:
                *_, best = min(meets)
                del left[best]
                met.append(((start, end, row), best, kind))
            else:
                unmet.append(gold)
    return Matching(met, [(start, end, row) for end, _, start, _, row in unmet], list(left))


@lru_cache(maxsize=1024)
def meant(label: str) -> frozenset[str]:
    """Give the single labels that ``label`` may stand for."""
    return frozenset(alternatives(label))


@lru_cache(maxsize=1024)
def _row_of(label: str, marked: frozenset[str]) -> str | None:
    """Give the gold label an entity counts under; None if the note does not mark it."""
    if label in marked:
        return label
    return next((m for m in sorted(marked) if meant(label) & meant(m)), None)
