"""Long notes cut for a language model: at the end of a section or sentence, with overlap."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from clin_edge.core.spans import Span

MAX_CHARS = 6_000
OVERLAP_CHARS = 400
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
_SECTION_FROM = 0.5  # a section's end is taken if the chunk is at least so full


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


def cut(text: str, *, max_chars: int = MAX_CHARS, overlap_chars: int = OVERLAP_CHARS) -> list[Span]:
    """Cover ``text`` with chunks that start and end where sentences do.

    Neighbours share whole sentences of up to ``overlap_chars``. A sentence longer than
    ``max_chars`` is a chunk of its own; what has no sentence end in ``4 * max_chars`` characters is
    no sentence, and is cut at a blank, or failing that anywhere.

    Raises:
        ValueError: If ``max_chars`` is not above ``overlap_chars``, or that is negative.
    """
    if not 0 <= overlap_chars < max_chars:
        raise ValueError(f"need 0 <= overlap_chars < max_chars, got {overlap_chars=} {max_chars=}")
    if not text:
        return []
    starts, sections = sentence_starts(text)
    ends = [*starts[1:], len(text)]
    chunks: list[Span] = []
    start = 0
    while True:
        end = _end(text, start, ends, sections, max_chars)
        chunks.append(Span(start, end))
        if end == len(text):
            return chunks
        # The first sentence in the overlap from which a chunk gets further than this one did.
        at = bisect_left(starts, max(end - overlap_chars, start + 1))
        while at < len(starts) and starts[at] < end:
            if _end(text, starts[at], ends, sections, max_chars) > end:
                break
            at += 1
        start = min(starts[at], end) if at < len(starts) else end


def _end(text: str, start: int, ends: list[int], sections: list[int], max_chars: int) -> int:
    if len(text) - start <= max_chars:
        return len(text)
    section = sections[bisect_right(sections, start + max_chars) - 1]
    if section >= start + _SECTION_FROM * max_chars:
        return section
    at = bisect_right(ends, start + max_chars) - 1
    if at >= 0 and ends[at] > start:
        return ends[at]
    longest = start + 4 * max_chars
    end = ends[bisect_right(ends, start)]
    if end <= longest:
        return end
    blank = max(
        text.rfind(" ", start + max_chars, longest), text.rfind("\n", start + max_chars, longest)
    )
    return blank + 1 if blank > start else longest
