"""Which span of one answer to a note is which span of another answer to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clin_edge.core.score_match import Place
from clin_edge.core.spans import Entity

Pair = tuple[Place, Place]


@dataclass(frozen=True, slots=True)
class NotePairs:
    """What became of one note's spans: each old and each new one is here exactly once.

    Pairs are old, new. ``same``: same borders and label. ``moved``: same label, a character shared,
    other borders. ``relabelled``: other label, a character shared, whatever the borders.
    """

    same: list[Place]
    moved: list[Pair]
    relabelled: list[Pair]
    lost: list[Place]
    gained: list[Place]


def pair_spans(old: Iterable[Entity], new: Iterable[Entity]) -> NotePairs:
    """Pair the spans of two answers to one note, each at most once.

    What is the same goes first, then spans of one label that overlap, then those of two labels that
    do: a span that kept its label has moved, even if another label stands nearer. Each time the old
    spans choose in text order, and each takes the first new one that is free.

    Where no side overlaps itself, as no bundle's answer does, that makes as many pairs as can be
    made: of a span and its first choice, the one that ends first could pair with nothing else that
    is left. Since all of one side rank the other side alike, the pairs would be the same if the new
    spans chose: there is but one matching that no two spans would both rather leave.

    Two entities of one side with the same borders and label are one.
    """
    olds, news = ({(e.span.start, e.span.end, e.label) for e in side} for side in (old, new))
    same = olds & news
    olds, news = olds - same, news - same
    near = sorted(_overlapping(olds, news))
    moved: list[Pair] = []
    relabelled: list[Pair] = []
    for pairs, keeps_label in ((moved, True), (relabelled, False)):
        for before, after in near:
            alike = (before[2] == after[2]) is keeps_label
            if alike and before in olds and after in news:
                pairs.append((before, after))
                olds.remove(before)
                news.remove(after)
    return NotePairs(sorted(same), moved, relabelled, sorted(olds), sorted(news))


def _overlapping(olds: Iterable[Place], news: Iterable[Place]) -> Iterator[Pair]:
    """Yield each old and new place that share a character: one walk over the text."""
    sides: tuple[list[Place], list[Place]] = ([], [])
    for place, side in sorted([(p, 0) for p in olds] + [(p, 1) for p in news]):
        others = sides[1 - side]
        others[:] = [other for other in others if other[1] > place[0]]
        yield from ((place, other) if side == 0 else (other, place) for other in others)
        sides[side].append(place)
