"""How far the phrases of a sentence reach, and what they come to for one entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clin_edge.runtime.context_rules import CLAUSE, Hit

AXES: Mapping[str, int] = {
    "negated": 0,
    "possible": 0,
    "historical": 1,
    "present": 1,
    "family": 2,
    "hypothetical": 3,
}
"""Whether, when, who, and whether at all. Of the claims on one axis the nearest counts."""
PRECEDENCE = ("hypothetical", "negated", "family", "possible", "historical")
"""Did it happen to anybody at all, then to whom, then how surely, then when."""
SECTION_DISTANCE = 1 << 30
"""What a heading says is farther away than any phrase."""
_CLAUSE_SIGNS = frozenset(",;:()[]/.?!–—")
_CLAUSE_REACH = 8


class Claim(NamedTuple):
    """A phrase says ``category`` of an entity ``distance`` words and signs away."""

    category: str
    distance: int


Claims = tuple[Claim | None, ...]
"""The nearest claim on each axis."""
NO_CLAIMS: Claims = (None,) * 4


def forward_claims(
    words: Sequence[str], hits: Sequence[Hit], places: Sequence[int]
) -> list[Claims]:
    """Give what phrases claim of entities behind them; entities by first word, in order.

    A phrase that is not over where the entity begins says nothing of it. A scope ends at a
    terminator, and at a claim of another category on the same axis; one of the same category
    lengthens it. Linear in words and places.
    """
    reach: list[tuple[str, int, int] | None] = [None] * len(NO_CLAIMS)
    found, at = [], 0
    for place in places:
        while at < len(hits) and hits[at].after <= place:
            _apply(hits[at], words, reach)
            at += 1
        found.append(tuple([_claim(held, place) for held in reach]))
    return found


def backward_claims(
    words: Sequence[str], hits: Sequence[Hit], places: Sequence[int]
) -> list[Claims]:
    """Give what phrases claim of entities before them; ``places`` are the words after these.

    The sentence is read from its end, and backward phrases are forward ones there.
    """
    n = len(words)
    turned = [Hit(n - hit.after, n - hit.first, hit.turned, hit.rules) for hit in reversed(hits)]
    order = sorted(range(len(places)), key=lambda i: -places[i])
    claims = forward_claims(words[::-1], turned, [n - places[i] for i in order])
    by_place = dict(zip(order, claims, strict=True))
    return [by_place[i] for i in range(len(places))]


def nearest(*some: Claims) -> Claims:
    """Give on each axis the nearest of the claims; of two as near the one named first."""
    best, *others = some
    for claims in others:
        best = tuple([_nearer(*pair) for pair in zip(best, claims, strict=True)])
    return best


def _nearer(one: Claim | None, other: Claim | None) -> Claim | None:
    if one is None or other is None:
        return one or other
    return one if one.distance <= other.distance else other


def verdict(claims: Claims) -> str:
    """Give the one word for what is claimed, by ``PRECEDENCE``."""
    made = {claim.category for claim in claims if claim is not None}
    return next((category for category in PRECEDENCE if category in made), "present")


def _apply(hit: Hit, words: Sequence[str], reach: list[tuple[str, int, int] | None]) -> None:
    for rule in hit.rules:
        if rule.direction == "terminate":
            for axis, held in enumerate(reach):
                if held is not None and rule.category in ("any", held[0]):
                    reach[axis] = None
    for rule in hit.rules:
        if rule.direction == "forward":
            limit = hit.after + rule.scope
            if rule.scope == CLAUSE:
                limit = _clause_end(words, hit.after)
            axis = AXES[rule.category]
            held = reach[axis]
            if held is not None and held[0] == rule.category:
                limit = max(limit, held[1])
            reach[axis] = (rule.category, limit, hit.after)


def _claim(held: tuple[str, int, int] | None, place: int) -> Claim | None:
    if held is None or place > held[1]:
        return None
    return Claim(held[0], place - held[2])


def _clause_end(words: Sequence[str], start: int) -> int:
    """The last place an entity may begin at before the clause ends."""
    for place in range(start, min(start + _CLAUSE_REACH, len(words))):
        if words[place] in _CLAUSE_SIGNS:
            return place - 1
    return start + _CLAUSE_REACH
