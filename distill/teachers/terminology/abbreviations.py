"""Abbreviations that a note defines itself: "chronic kidney disease (CKD)", and the reverse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clin_edge.core.spans import Span

_REACH = 200  # characters before a bracket in which its long form is sought
_BRACKETS = re.compile(rf"\(([^()\n]{{2,{_REACH}}})\)")
_CUT = re.compile(r"[;,]")
_SENTENCE_END = re.compile(r"[.!?;:]\s|\n[^\S\n]*\n|[()]")
_LAST_WORD = re.compile(r"(?<![\w/+-])[^\W_][\w/+-]{1,9}\Z")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Definition:
    """A short form, and the places where a note defines it."""

    short: str
    short_at: Span
    long_at: Span


def definitions(text: str) -> Iterator[Definition]:
    """Yield what the text defines, in order; takes time in proportion to its length.

    Source: A. S. Schwartz and M. A. Hearst, A simple algorithm for identifying abbreviation
    definitions in biomedical text, Pacific Symposium on Biocomputing 2003. Stricter than theirs: a
    short form has a capital letter.
    """
    for match in _BRACKETS.finditer(text):
        before = text[max(0, match.start() - _REACH) : match.start()].rstrip()
        gone = len(text[max(0, match.start() - _REACH) : match.start()]) - len(before)
        ends_at = match.start() - gone
        inside = _CUT.split(match[1], maxsplit=1)[0].rstrip()
        if _is_short(inside):
            sentence = _SENTENCE_END.split(before)[-1]
            words = list(_WORD.finditer(sentence))[-min(len(inside) + 5, 2 * len(inside)) :]
            long = long_form(inside, sentence[words[0].start() :]) if words else None
            if long is not None:
                at = Span(ends_at - len(long), ends_at)
                yield Definition(inside, _at(match.start(1), inside), at)
        elif (last := _LAST_WORD.search(before)) and _is_short(last[0]):
            long = long_form(last[0], inside)
            if long == inside:
                short_at = Span(ends_at - len(last[0]), ends_at)
                yield Definition(last[0], short_at, _at(match.start(1), inside))


def long_form(short: str, long: str) -> str | None:
    """Give the shortest end of ``long`` that ``short`` abbreviates, or nothing.

    Every letter and digit of ``short`` is found in it in order, the first at the start of a word.

    >>> long_form("CKD", "with chronic kidney disease"), long_form("CKD", "heart disease")
    ('chronic kidney disease', None)
    """
    at = len(long)
    lower = long.lower()
    for number, sign in reversed(list(enumerate(short.lower()))):
        if not sign.isalnum():
            continue
        at = lower.rfind(sign, 0, at)
        while number == 0 and at > 0 and long[at - 1].isalnum():
            at = lower.rfind(sign, 0, at)
        if at < 0:
            return None
    found = long[at:]
    # What is no longer, or holds the short form, explains nothing.
    fits = len(found) > len(short) and short not in re.split(r"[^\w/+-]+", found)
    return found if fits else None


def _is_short(text: str) -> bool:
    return (
        2 <= len(text) <= 10
        and len(text.split()) <= 2
        and text[0].isalnum()
        and any(sign.isupper() for sign in text)
    )


def _at(start: int, text: str) -> Span:
    return Span(start, start + len(text))
