"""What a note claims of each entity: there, denied, only possible, past, not yet, or another's.

ConText (Harkema et al. 2009): phrases with a direction and a scope within a sentence, phrases that
end a scope, and longer phrases that only look like one. docs/context.md says what was chosen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from clin_edge.core.spans import Span
from clin_edge.runtime.context_rules import END, WORD, Rules, load_rules, words_of
from clin_edge.runtime.context_scope import (
    AXES,
    NO_CLAIMS,
    SECTION_DISTANCE,
    Claim,
    Claims,
    backward_claims,
    forward_claims,
    nearest,
    verdict,
)
from clin_edge.runtime.context_sections import sentences


def assertions(text: str, spans: Sequence[Span], *, rules: Path | None = None) -> list[str]:
    """Give for each span what the text claims of it, in the spans' order.

    One of ``present``, ``negated``, ``possible``, ``historical``, ``hypothetical``, ``family``. A
    span's value depends on the text and this span alone. Linear in the text's length; a text
    without spans is not looked at.

    Args:
        text: A note.
        spans: Entities' places in it, in any order; they may overlap.
        rules: A table whose phrases go before ours; see docs/context.md.

    Raises:
        InputError: If the table cannot be read.
        ValueError: If a span leaves the text.
    """
    if not spans:
        return []
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    if max(ends) > len(text):
        raise ValueError("a span ends after the text")
    lexicon = load_rules(rules)
    by_start = sorted(range(len(spans)), key=starts.__getitem__)
    by_end = sorted(range(len(spans)), key=ends.__getitem__)
    starts.sort()
    ends.sort()
    said: list[list[Claims]] = [[] for _ in spans]  # before, after, section
    n_started = n_ended = 0
    for first, last, default in sentences(text, lexicon):
        began, ended = n_started, n_ended
        n_started, n_ended = bisect_left(starts, last, began), bisect_right(ends, last, ended)
        if began < n_started or ended < n_ended:
            sentence = _Sentence(text, first, last, lexicon)
            opening, closing = by_start[began:n_started], by_end[ended:n_ended]
            if sentence.claims("forward"):
                found = sentence.before(starts[began:n_started])
                for i, claims in zip(opening, found, strict=True):
                    said[i].append(claims)
            if sentence.claims("backward"):
                found = sentence.after(ends[ended:n_ended])
                for i, claims in zip(closing, found, strict=True):
                    said[i].append(claims)
            if default:
                for i in opening:
                    said[i].append(_section_claims(default))
        if n_ended == len(spans):
            break
    return [verdict(nearest(*claims)) if claims else "present" for claims in said]


class _Sentence:
    """A sentence's words, and the phrases among them."""

    def __init__(self, text: str, first: int, last: int, rules: Rules) -> None:
        self._found = partial(WORD.finditer, text, first, last)
        self._words = [*words_of(text[first:last]), END]
        self._hits = rules.hits(self._words)

    def claims(self, direction: str) -> bool:
        """Tell whether any phrase claims something in this direction."""
        return any(rule.direction == direction for hit in self._hits for rule in hit.rules)

    def before(self, starts: list[int]) -> list[Claims]:
        """What phrases before the entities that start at these places claim of them."""
        stops = [word.end() for word in self._found()]
        places = [bisect_right(stops, start) for start in starts]
        return forward_claims(self._words, self._hits, places)

    def after(self, ends: list[int]) -> list[Claims]:
        """What phrases behind the entities that end at these places claim of them."""
        starts = [word.start() for word in self._found()]
        places = [bisect_left(starts, end) for end in ends]
        return backward_claims(self._words, self._hits, places)


def _section_claims(default: str) -> Claims:
    claim = Claim(default, SECTION_DISTANCE)
    return tuple(claim if axis == AXES[default] else None for axis in range(len(NO_CLAIMS)))
