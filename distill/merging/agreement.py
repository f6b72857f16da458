"""How far teachers agree beyond chance: Cohen's kappa for two, Fleiss' kappa for all.

What is rated is each word (a run of letters and digits) of the notes that the raters all have:
is it inside an entity that may bear the label, or not? Only teachers that mark the label rate.

Sources: J. Cohen, Educational and Psychological Measurement 20 (1960) 37-46; J. L. Fleiss,
Psychological Bulletin 76 (1971) 378-382.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.labelled import Labelled
from clin_edge.core.spans import alternatives
from clin_edge.distill.merging.rules import Said

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance of some raters over ``n_words`` words.

    ``value`` is 1 for full agreement and 0 for what chance gives; None where chance alone would
    make them agree on everything, as when no one marked anything.
    """

    raters: tuple[str, ...]
    value: float | None
    n_words: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one label: a kappa for every two teachers that mark it, and one for all of them."""

    pairs: tuple[Kappa, ...]
    together: Kappa


def agreements(notes: Iterable[Said]) -> dict[str, Agreement]:
    """Measure by single label how far the teachers agree on these notes."""
    notes = list(notes)
    words = [_words(said) for said in notes]
    raters: dict[str, set[str]] = {}
    for said in notes:
        for name, item in said.items():
            for label in item.covered:
                raters.setdefault(label, set()).add(name)
    return {
        label: _agreement(label, sorted(raters[label]), notes, words)
        for label in sorted(raters)
        if len(raters[label]) > 1
    }


def cohen_kappa(both: int, only_a: int, only_b: int, neither: int) -> float | None:
    """Give Cohen's kappa of two raters who said yes or no to each thing.

    >>> round(cohen_kappa(20, 5, 10, 15), 4)
    0.4
    """
    n = both + only_a + only_b + neither
    if not n:
        return None
    yes_a, yes_b = (both + only_a) / n, (both + only_b) / n
    return _beyond_chance((both + neither) / n, yes_a * yes_b + (1 - yes_a) * (1 - yes_b))


def fleiss_kappa(n_things: Sequence[int]) -> float | None:
    """Give Fleiss' kappa of R raters who said yes or no.

    Args:
        n_things: ``n_things[k]`` is the number of things to which k of the R said yes (R + 1).
    """
    n_raters, n = len(n_things) - 1, sum(n_things)
    if n_raters < 2 or not n:
        return None
    pairs = n_raters * (n_raters - 1)
    agreed = sum(
        count * (k * (k - 1) + (n_raters - k) * (n_raters - k - 1)) / pairs
        for k, count in enumerate(n_things)
    )
    yes = sum(count * k for k, count in enumerate(n_things)) / (n * n_raters)
    return _beyond_chance(agreed / n, yes**2 + (1 - yes) ** 2)


def as_dict(found: Mapping[str, Agreement]) -> dict[str, object]:
    """Give plain values for JSON; four decimals."""
    return {
        label: {
            "cohen": [_kappa_dict(kappa) for kappa in one.pairs],
            "fleiss": _kappa_dict(one.together),
        }
        for label, one in found.items()
    }


def _beyond_chance(agreed: float, by_chance: float) -> float | None:
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else None


def _kappa_dict(kappa: Kappa) -> dict[str, object]:
    value = None if kappa.value is None else round(kappa.value, 4)
    return {"teachers": list(kappa.raters), "kappa": value, "words": kappa.n_words}


def _agreement(
    label: str,
    raters: Sequence[str],
    notes: Sequence[Said],
    words: Sequence[NDArray[np.int64]],
) -> Agreement:
    n_raters = len(raters)
    both = np.zeros((n_raters, n_raters), dtype=np.int64)  # words that both said yes to
    yes = np.zeros_like(both)  # [a, b]: words of the notes both have that a said yes to
    seen = np.zeros_like(both)  # words of the notes both have
    by_count = np.zeros(n_raters + 1, dtype=np.int64)
    for said, places in zip(notes, words, strict=True):
        here = [i for i, r in enumerate(raters) if r in said and label in said[r].covered]
        if len(here) < 2:
            continue
        marks = np.array([_inside(said[raters[i]], label, places) for i in here], dtype=np.int64)
        among = np.ix_(here, here)
        both[among] += marks @ marks.T
        yes[among] += marks.sum(axis=1)[:, None]
        seen[among] += len(places)
        if len(here) == n_raters:
            by_count += np.bincount(marks.sum(axis=0), minlength=n_raters + 1)
    pairs = []
    for a, b in combinations(range(n_raters), 2):
        n, b_yes, a_yes, two = (int(m) for m in (seen[a, b], yes[b, a], yes[a, b], both[a, b]))
        value = cohen_kappa(two, a_yes - two, b_yes - two, n - a_yes - b_yes + two)
        pairs.append(Kappa((raters[a], raters[b]), value, n))
    together = Kappa(tuple(raters), fleiss_kappa(by_count.tolist()), int(by_count.sum()))
    return Agreement(tuple(pairs), together)


def _words(said: Said) -> NDArray[np.int64]:
    """Give first and past-the-end character of every word (W, 2)."""
    text = next(iter(said.values())).note.text if said else ""
    return np.array([m.span() for m in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)


def _inside(item: Labelled, label: str, words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each word (W,) whether it shares a character with an entity that may be ``label``."""
    inside = np.zeros(len(words), dtype=bool)
    for entity in item.entities:
        if label in alternatives(entity.label):
            first = np.searchsorted(words[:, 1], entity.span.start, side="right")
            end = np.searchsorted(words[:, 0], entity.span.end, side="left")
            inside[first:end] = True
    return inside
