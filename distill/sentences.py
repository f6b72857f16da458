"""Where the sentences and sections of a note start."""

from __future__ import annotations

import re

_ABBREVIATIONS = """
al approx ca cf dr drs est ft hr inc mr mrs ms pt pts resp sig st vs
"""
_NO_END = frozenset(_ABBREVIATIONS.split())
_NO_END_BEFORE_NUMBERS = frozenset(("fig", "no", "nos"))
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]”’]*+\s++(?=[\"'(\[“‘]*+[^\W_a-z])")
_WORD_BEFORE = re.compile(r"[\w.'’]*\Z")
_LETTERS = re.compile(r"[a-z](?:\.[a-z])*")  # an initial, or what is written like p.o.
_ITEM_NUMBER = re.compile(r"(?:\n[ \t]*|[.:;!?)]\s+)(?:\d{1,2}|[ivx]{1,4})\Z")
_LINE_BREAK = re.compile(r"\n\s*+")
_HEADING = re.compile(r"(?:[-*•#>]|\d{1,2}[.)]\s|[A-Z][^:\n]{0,40}:(?!\d))")
_WRAPPED_CHARS = 60  # a shorter line was ended by its writer, not by a margin


def sentence_starts(text: str) -> tuple[list[int], list[int]]:
    """Give where sentences start, and which of these places start a section; 0 is one of both.

    A section starts after a blank line or with a heading or list item, though not right after a
    heading's colon. A line break ends a sentence there, and after a short line that does not go on
    in small letters. A full stop ends one before a blank and a capital or digit, but not after an
    abbreviation, an initial or an item's number.
    """
    starts, sections = {0}, {0}
    line_start = 0
    for match in _LINE_BREAK.finditer(text):
        at = match.end()
        if at == len(text):
            break
        line, line_start = text[line_start : match.start()].rstrip(), at
        if line.endswith(":"):
            continue
        if match[0].count("\n") > 1 or _HEADING.match(text, at):
            starts.add(at)
            sections.add(at)
        elif len(line) < _WRAPPED_CHARS and not text[at].islower():
            starts.add(at)
    for match in _SENTENCE_END.finditer(text):
        if not _goes_on(text, match.start(), match.end()):
            starts.add(match.end())
    return sorted(starts), sorted(sections)


def _goes_on(text: str, stop: int, after: int) -> bool:
    """Tell whether the full stop at ``stop`` belongs to what is before it and ends no sentence."""
    if text[stop] != ".":
        return False
    before = text[max(stop - 12, 0) : stop].casefold()
    if _ITEM_NUMBER.search(before if stop > 12 else "\n" + before):
        return True
    match = _WORD_BEFORE.search(before)
    word = match[0] if match else ""
    return (
        word in _NO_END
        or (word in _NO_END_BEFORE_NUMBERS and text[after].isdigit())
        or _LETTERS.fullmatch(word) is not None
    )
