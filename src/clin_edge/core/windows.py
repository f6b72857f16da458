"""How a note is cut into passages, and a long passage into windows; who answers for which token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# A paragraph begins after a blank line, and with a line that begins with a header ("ALLERGIES:").
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n|\n(?=[^\S\n]{0,8}[A-Z][A-Za-z0-9 /&()-]{2,40}:)")


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens ``start <= i < end`` go through the model together; ``keep_*`` of them are kept.

    All four are token indices into the whole note.

    Raises:
        ValueError: If the kept tokens do not lie inside the window.
    """

    start: int
    end: int
    keep_start: int
    keep_end: int

    def __post_init__(self) -> None:
        """Refuse a window that keeps nothing or what it has not read."""
        if not 0 <= self.start <= self.keep_start < self.keep_end <= self.end:
            raise ValueError(f"a window keeps part of what it reads, got {self}")


def plan_windows(n_tokens: int, *, size: int, overlap: int) -> list[Window]:
    """Cover ``n_tokens`` with the fewest windows that share at least ``overlap`` tokens.

    Every token is *kept* by exactly one window, the one that sees it with most context on its
    poorer side, so stitching never has to vote. Windows are equally long (one more than needed
    would be the price of full ones): 300 tokens in windows of 254 that share 32 cost 2 x 166.

    Source: the "max context" rule of google-research/bert ``run_squad.py``; there the windows are
    full and the last one is short.

    >>> [(w.keep_start, w.keep_end) for w in plan_windows(10, size=6, overlap=2)]
    [(0, 5), (5, 10)]

    Raises:
        ValueError: If ``size < 1`` or not ``0 <= overlap < size``.
    """
    if n_tokens < 0 or size < 1 or not 0 <= overlap < size:
        raise ValueError(
            "need n_tokens >= 0, size >= 1, 0 <= overlap < size, "
            f"got {n_tokens=} {size=} {overlap=}"
        )
    if n_tokens == 0:
        return []
    n_windows = max(1, -(-(n_tokens - overlap) // (size - overlap)))
    length = -(-(n_tokens + (n_windows - 1) * overlap) // n_windows)
    # Windows slide by (n_tokens - length) / (n_windows - 1), rounded, which never exceeds
    # length - overlap: neighbours share at least `overlap` tokens.
    starts = [i * (n_tokens - length) // max(n_windows - 1, 1) for i in range(n_windows)]
    ends = [start + length for start in starts]
    # Neighbours meet halfway through what they share.
    cuts = [(end + start + 1) // 2 for end, start in zip(ends, starts[1:], strict=False)]
    return [Window(*w) for w in zip(starts, ends, [0, *cuts], [*cuts, n_tokens], strict=True)]


def paragraph_starts(text: str) -> list[int]:
    r"""Find where paragraphs begin, but for the first: code points, ascending.

    >>> paragraph_starts("PLAN: rest.\n\nALLERGIES: none")
    [13]
    """
    return [found.end() for found in _PARAGRAPH.finditer(text)]


def plan_passages(
    starts: Iterable[int], n_tokens: int, *, size: int, overlap: int, least: int
) -> list[Window]:
    """Cover ``n_tokens`` with windows that never reach from one passage into another.

    A passage is as few whole paragraphs as have ``least`` tokens together. So every paragraph of
    so many tokens is the end of a passage, wherever it stands: text that notes have in common,
    because it was copied forward, is cut alike in all of them, and read alike.

    Args:
        starts: The first tokens of paragraphs, ascending; the first one's may be missing.
        n_tokens: Of the note.
        size: The most tokens in a window; see ``plan_windows`` for longer passages.
        overlap: What windows of one passage share at least.
        least: Tokens of a passage, but for the note's last; 0: the note is one passage.

    Raises:
        ValueError: As ``plan_windows``.
    """
    bounds = [0]
    for start in starts if least else ():
        if start - bounds[-1] >= least and start < n_tokens:
            bounds.append(start)
    windows: list[Window] = []
    for start, end in zip(bounds, [*bounds[1:], n_tokens], strict=True):
        for w in plan_windows(end - start, size=size, overlap=overlap):
            windows.append(
                Window(start + w.start, start + w.end, start + w.keep_start, start + w.keep_end)
            )
    return windows
