"""What a note claims of each entity: there, denied, only possible, past, not yet, or another's.

ConText (Harkema et al. 2009): phrases with a direction and a scope within a sentence, phrases that
end a scope, and longer phrases that only look like one. docs/context.md says what was chosen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from clin_edge.core.spans import Span
from clin_edge.runtime.context_rules import END, WORD, Rules, as_word, load_rules
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

_NOTHING = (NO_CLAIMS,) * 3  # before, after, section


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
    if max(span.end for span in spans) > len(text):
        raise ValueError("a span ends after the text")
    lexicon = load_rules(rules)
    by_start = sorted(range(len(spans)), key=lambda i: spans[i].start)
    by_end = sorted(range(len(spans)), key=lambda i: spans[i].end)
    before: list[Claims] = [NO_CLAIMS] * len(spans)
    after: list[Claims] = [NO_CLAIMS] * len(spans)
    section: list[Claims] = [NO_CLAIMS] * len(spans)
    starts = ends = 0
    for first, last, default in sentences(text, lexicon):
        began, ended = starts, ends
        while starts < len(spans) and spans[by_start[starts]].start < last:
            section[by_start[starts]] = _section_claims(default)
            starts += 1
        while ends < len(spans) and spans[by_end[ends]].end <= last:
            ends += 1
        if began < starts or ended < ends:
            sentence = _Sentence(text, first, last, lexicon)
            for i, claims in zip(
                by_start[began:starts],
                sentence.before([spans[i].start for i in by_start[began:starts]]),
                strict=True,
            ):
                before[i] = claims
            for i, claims in zip(
                by_end[ended:ends],
                sentence.after([spans[i].end for i in by_end[ended:ends]]),
                strict=True,
            ):
                after[i] = claims
        if ends == len(spans):
            break
    claimed = zip(before, after, section, strict=True)
    return ["present" if said == _NOTHING else verdict(nearest(*said)) for said in claimed]


class _Sentence:
    """A sentence's words, where they stand, and the phrases among them."""

    def __init__(self, text: str, first: int, last: int, rules: Rules) -> None:
        found = list(WORD.finditer(text, first, last))
        self._words = [as_word(word[0]) for word in found]
        self._words.append(END)
        self._hits = rules.hits(self._words)
        if self._hits:
            self._starts = [word.start() for word in found]
            self._ends = [word.end() for word in found]

    def before(self, starts: list[int]) -> list[Claims]:
        """What phrases before the entities that start at these places claim of them."""
        if not self._hits:
            return [NO_CLAIMS] * len(starts)
        places = [bisect_right(self._ends, start) for start in starts]
        return forward_claims(self._words, self._hits, places)

    def after(self, ends: list[int]) -> list[Claims]:
        """What phrases behind the entities that end at these places claim of them."""
        if not self._hits:
            return [NO_CLAIMS] * len(ends)
        places = [bisect_left(self._starts, end) for end in ends]
        return backward_claims(self._words, self._hits, places)


def _section_claims(default: str) -> Claims:
    if not default:
        return NO_CLAIMS
    claim = Claim(default, SECTION_DISTANCE)
    return tuple(claim if axis == AXES[default] else None for axis in range(len(NO_CLAIMS)))
