"""A text in the form in which spellings meet, with the way back to its own characters."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_HALFWIDTH_MARKS = "\uff9e\uff9f"  # letters by category, combining marks once decomposed
_PLAIN = re.compile(r"[!-~]+(?![^\x00-\x7f])")
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("'’‘‛ʼ´`′＇", "'"),
        **dict.fromkeys('"“”„‟«»″＂', '"'),
        **dict.fromkeys("-‐‑‒–—―−﹣－", "-"),
        **dict.fromkeys("⁄∕", "/"),
        **dict.fromkeys(_UNSEEN),
    }
)


@dataclass(frozen=True, slots=True)
class Folded:
    """``text[i]`` comes from the characters ``starts[i] <= k < ends[i]`` of what was folded.

    Characters that come from the same ones (a ligature's letters, a letter and its accent) have
    the same start and end.
    """

    text: str = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    ends: tuple[int, ...] = field(repr=False)


def fold(text: str) -> Folded:
    r"""Fold case and Unicode compatibility forms; unify quotes, dashes, slashes and blanks.

    A run of blanks and line breaks becomes one space, none at the ends; what is invisible goes.
    Letters stay decomposed (NFKD), each with its accents.

    >>> folded = fold("\u201cBeta\u2011\n blocker\u201d \ufb01rst")
    >>> folded.text, folded.starts[-5:]
    ('"beta- blocker" first', (17, 17, 18, 19, 20))
    """
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    blank: list[int] = []

    def end_blank() -> None:
        if blank and chars:
            chars.append(" ")
            starts.append(blank[0])
            ends.append(blank[-1])
        blank.clear()

    at = 0
    while at < len(text):
        if plain := _PLAIN.match(text, at):  # one for one, and so most of a note at once
            end = plain.end()
            end_blank()
            chars += plain[0].translate(_SIGNS).lower()
            starts += range(at, end)
            ends += range(at + 1, end + 1)
        else:
            end = _unit_end(text, at)
            for char in _fold_unit(text[at:end]):
                if char.isspace():
                    blank += at, end
                    continue
                end_blank()
                chars.append(char)
                starts.append(at)
                ends.append(end)
        at = end
    return Folded("".join(chars), tuple(starts), tuple(ends))


def _unit_end(text: str, at: int) -> int:
    """Give the end of a character and its combining marks: no folding reaches further than that."""
    end = at + 1
    if text[at].isspace():
        return end
    for i in range(end, len(text)):
        char = text[i]
        if char.isascii() or not (char in _UNSEEN or _is_mark(char)):
            break
        # What is invisible belongs to a character only if a mark follows.
        if char not in _UNSEEN or text[at] in _UNSEEN:
            end = i + 1
    return end


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or char in _HALFWIDTH_MARKS


def _fold_unit(unit: str) -> str:
    signs = unicodedata.normalize("NFD", unit).translate(_SIGNS)
    apart = unicodedata.normalize("NFKD", signs).casefold()
    return unicodedata.normalize("NFKD", apart).translate(_SIGNS)
