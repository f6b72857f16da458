"""Long notes cut for a language model: at the end of a section or sentence, with overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from clin_edge.core.spans import Span
from clin_edge.distill.sentences import sentence_starts

MAX_CHARS = 6_000
OVERLAP_CHARS = 400
_SECTION_FROM = 0.5  # a section's end is taken if the chunk is at least so full


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
