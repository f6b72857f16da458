"""Where sentences and sections of a clinical note begin and end.

Notes are lists, wrapped paragraphs and telegrams. A line's end is a sentence's end unless the next
line goes on with it; a full stop is one unless it belongs to an abbreviation. A section's heading
says something of all that stands in it: what it says holds until another heading, or until
a blank line that no list item follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from clin_edge.runtime.context_rules import Rules, heading_key, words_of
from clin_edge.runtime.context_scope import forward_claims, verdict

_LINE = re.compile(r"[^\r\n]+")
_MARK = re.compile(r"\s{0,40}(?:[-*•·●▪>#]{1,3}|\(?\d{1,3}[.)](?=\s)|\(?[a-h][.)](?=\s))\s{0,40}")
_STOP = re.compile(r"[.?!](?:(?=[\"')\]]?\s)|(?<=[a-z]{3}\.)(?=[A-Z][a-z]))")
_LAST = re.compile(r"[\w.]+\Z")
_HEADING = re.compile(r"[\s*_#]{0,20}([A-Za-z][^:\r\n]{0,60}?)[*_]{0,3}\s?(:|\s[-–—]\s|\Z)")
_HEADING_REACH = 90
_FIRST = re.compile(r"[\W_]{0,20}([^\W_]+)")

_LEAD_IN = 120
_DOTTED = re.compile(r"[a-z](?:\.[a-z])+")
_NOT_FIRST = ("and", "or", "nor", "but")
_WRAPPED = 40
"""A line this long may go on in the next one that begins small."""

_LONGEST = 4000
"""No sentence is longer, so that memory does not grow with one that never ends."""

Sentence = tuple[int, int, str]
"""Start, end, and what its section says of it ("" for nothing). Sentences tile the text."""


def sentences(text: str, rules: Rules) -> Iterator[Sentence]:
    """Yield the sentences of ``text`` in order; they leave no character out.

    Linear in its length.
    """
    for start, end, default in _whole_sentences(text, rules):
        while end - start > _LONGEST:
            cut = text.rfind(" ", start, start + _LONGEST) + 1 or start + _LONGEST
            yield start, cut, default
            start = cut
        yield start, end, default


def _whole_sentences(text: str, rules: Rules) -> Iterator[Sentence]:
    section = _Section(rules)
    start, default, before, before_end = 0, "", "", 0
    for line in _LINE.finditer(text):
        first, last = line.span()
        stripped = line.group().strip()
        if not stripped:
            continue
        blank = text[before_end:first] not in ("", "\n", "\r\n", "\r")
        mark = _MARK.match(text, first, last)
        body = mark.end() if mark else first
        heading = _heading(text, body, last, rules)
        known = heading is not None and heading.key in rules.headings
        if blank or mark or known or not _goes_on(before, stripped, rules):
            if first > start:
                yield start, first, default
            start = first
            default = section.line(heading, stripped, blank=blank, listed=mark is not None)
        for stop in _STOP.finditer(text, body, last):
            if _ends(text, body, stop.start(), last, rules):
                yield start, stop.end(), default
                start = stop.end()
                default = section.inline(text, start, last)
        before, before_end = stripped, last
    if start < len(text):
        yield start, len(text), default


class _Heading(NamedTuple):
    """A heading's words, whether in capitals, whether a colon ends it, whether more follows."""

    key: str
    shouted: bool
    colon: bool
    more: bool


class _Section:
    """What the headings so far say of what stands below them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._default = ""
        self._filled = False
        self._list_only = False

    def line(self, heading: _Heading | None, line: str, *, blank: bool, listed: bool) -> str:
        """Take up a new line; give what its section says of it."""
        if self._default and not listed and (self._list_only or (blank and self._filled)):
            self._default = ""
        known = None if heading is None else self._rules.headings.get(heading.key)
        if heading is not None and known is not None:
            self._enter(known, filled=heading.more, list_only=False)
            return self._default
        lead_in = self._lead_in(line) if line.endswith(":") else ""
        if lead_in:
            self._enter(lead_in, filled=False, list_only=True)
        elif heading is not None and heading.shouted and heading.colon:
            self._enter("", filled=True, list_only=False)
        else:
            self._filled = True
        return self._default

    def inline(self, text: str, start: int, end: int) -> str:
        """Take up a sentence within a line: only a known heading says anything new."""
        if text.find(":", start, min(end, start + _HEADING_REACH)) < 0:
            return self._default
        heading = _heading(text, start, end, self._rules)
        known = None if heading is None else self._rules.headings.get(heading.key)
        if heading is not None and heading.colon and known is not None:
            self._enter(known, filled=True, list_only=False)
        return self._default

    def _enter(self, category: str, *, filled: bool, list_only: bool) -> None:
        self._default = "" if category == "present" else category
        self._filled, self._list_only = filled, list_only

    def _lead_in(self, line: str) -> str:
        """What "Patient denies:" says of the list below it."""
        words = words_of(line[-_LEAD_IN:].rstrip(":"))
        (claims,) = forward_claims(words, self._rules.hits(words), [len(words)])
        said = verdict(claims)
        return "" if said == "present" else said


def _heading(text: str, start: int, end: int, rules: Rules) -> _Heading | None:
    """Find the heading that begins here, if any: up to a colon, a dash, or the line's end."""
    reach = min(end, start + _HEADING_REACH)
    if text.find(":", start, reach) < 0:
        # Without a colon only a known heading counts, and only alone on its line.
        first = _FIRST.match(text, start, reach)
        if reach < end or first is None or first[1].lower() not in rules.heading_starts:
            return None
    found = _HEADING.match(text[start:reach].rstrip())
    if found is None:
        return None
    more = reach < end or bool(text[start + found.end() : end].strip())
    return _Heading(heading_key(found[1]), found[1].isupper(), found[2] == ":", more)


def _goes_on(before: str, line: str, rules: Rules) -> bool:
    """Tell whether ``line`` goes on with the sentence of the line before it."""
    if not before or before[-1] in "?!:;":
        return False
    if before[-1] == ".":
        return not _ends(before + " " + line[:8], 0, len(before) - 1, len(before) + 9, rules)
    if before[-1] == ",":
        return True
    first, ending = line.split(None, 1)[0], before[-_WRAPPED:].lower().split()
    answered = len(ending) > 1 and ending[-2][-1] in ":-–"  # "Fever: no"
    if first in _NOT_FIRST or (ending[-1] in rules.words["goes-on"] and not answered):
        return True
    return len(before) >= _WRAPPED and first[0].islower()


def _ends(text: str, start: int, stop: int, end: int, rules: Rules) -> bool:
    """Tell whether the sign at ``stop`` ends a sentence."""
    if stop == start or text[stop] == "!":
        return stop > start
    if text[stop] == "?":
        return not text[stop - 1].isspace()
    found = _LAST.search(text[max(start, stop - 12) : stop])
    word = found.group().lower() if found else ""
    if word in rules.words["never-last"]:
        return False
    if word not in rules.words["seldom-last"] and word != "no" and not _DOTTED.fullmatch(word):
        return True
    following = text[stop + 1 : min(end, stop + 12)].lstrip()[:1]
    if word == "no":
        return not following.isdigit()
    return not following or following.isupper()
