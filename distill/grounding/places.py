"""Where a quote stands in a text: normalised or fuzzy, and never inside a word."""

from __future__ import annotations

import re
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.fold import fold

MIN_FUZZY_LETTERS = 6
_MARKS = "".join(
    c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c).startswith("M")
)
_SOFT = "-,/()[]'\""
_TOKEN = re.compile(
    rf"(?P<number>\d+(?:[.,/]\d+)*+)|(?P<word>[^\W\d_](?:[^\W\d_]|[{_MARKS}])*+)"
    rf"|[^\s{re.escape(_SOFT)}]"
)
_GAP = re.compile(rf" ?[{re.escape(_SOFT)}]{{0,3}} ?")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    kind: str


class Places:
    """A text, and the ways to look for a quote in it; ``ground`` says what each allows.

    Places come in text order; no more than ``limit`` are looked for, if that is given.
    """

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        self._tokens = _tokens(self._folded.text)
        self._spelt: dict[str, frozenset[str]] = {}
        self._at: dict[str, list[int]] = {}
        for i, token in enumerate(self._tokens):
            self._at.setdefault(token.text, []).append(i)

    def normalised(self, quote: str, limit: int | None = None) -> list[Span]:
        """Give the places of the folded quote."""
        wanted = fold(quote).text
        tokens = _tokens(wanted)
        if not tokens:
            return []
        # What cuts no word has the same tokens as the quote: the rarest shows where to look.
        rarest = min(tokens, key=lambda token: len(self._at.get(token.text, ())))
        starts = (self._tokens[i].start - rarest.start for i in self._at.get(rarest.text, ()))
        text = self._folded.text
        found = ((at, at + len(wanted)) for at in starts if at >= 0 and text.startswith(wanted, at))
        return list(islice(self._whole(found), limit))

    def holds(self, quote: str) -> bool:
        """Tell whether the folded quote stands anywhere, even inside a word."""
        return fold(quote).text in self._folded.text

    def fuzzy(self, quote: str, limit: int | None = None) -> list[Span]:
        """Give the places of the same words within the bounds that ``ground`` states."""
        folded = fold(quote).text
        return list(islice(self._whole(self._alike(folded, _tokens(folded))), limit))

    def agreement(self, span: Span, near: Sequence[str]) -> int:
        """Count the words right before ``span`` that are the last of ``near``."""
        before = bisect_left(self._word_starts, span.start)
        agreed = 0
        while agreed < min(len(near), before):
            if self._words[before - 1 - agreed].text != near[-1 - agreed]:
                break
            agreed += 1
        return agreed

    def opens(self, span: Span) -> bool:
        """Tell whether no word or number comes before ``span``."""
        return bisect_left(self._word_starts, span.start) == 0

    @cached_property
    def _words(self) -> list[_Token]:
        return [token for token in self._tokens if token.kind != "sign"]

    @cached_property
    def _word_starts(self) -> list[int]:
        return [self._folded.starts[token.start] for token in self._words]

    @cached_property
    def _long_words(self) -> dict[tuple[str, int], list[str]]:
        """Words of the text by first letter and length, for those that may be one edit away."""
        found: dict[tuple[str, int], list[str]] = {}
        for text in self._at:
            if len(text) >= MIN_FUZZY_LETTERS and text[0].isalpha():
                found.setdefault((text[0], len(text)), []).append(text)
        return found

    def _alike(self, folded: str, wanted: Sequence[_Token]) -> Iterator[tuple[int, int]]:
        if not wanted:
            return
        n_edits = max(1, sum(token.kind == "word" for token in wanted) // 3)
        meant = [self._spellings(token) for token in wanted]
        counts = [sum(len(self._at[text]) for text in texts) for texts in meant]
        rarest = counts.index(min(counts))
        lead, trail = folded[: wanted[0].start], folded[wanted[-1].end :]
        text = self._folded.text
        gaps = _gaps(folded, wanted)
        for i in sorted(i for text in meant[rarest] for i in self._at[text]):
            at = i - rarest
            run = self._tokens[max(at, 0) : at + len(wanted)]
            if (
                len(run) == len(wanted)
                and all(token.text in texts for token, texts in zip(run, meant, strict=True))
                and sum(a.text != b.text for a, b in zip(run, wanted, strict=True)) <= n_edits
                and _gaps_agree(run, _gaps(text, run), gaps)
            ):
                start, end = run[0].start, run[-1].end
                start -= len(lead) * text.endswith(lead, 0, start)
                yield start, end + len(trail) * text.startswith(trail, end)

    def _spellings(self, token: _Token) -> frozenset[str]:
        """Give the tokens of the text that may stand for ``token``: itself, or one edit away."""
        word = token.text
        if word not in self._spelt:
            found = {word} & self._at.keys()
            if token.kind == "word":
                for n_letters in range(len(word) - 1, len(word) + 2):
                    others = self._long_words.get((word[0], n_letters), ())
                    found |= {other for other in others if _one_edit(word, other)}
            self._spelt[word] = frozenset(found)
        return self._spelt[word]

    def _whole(self, places: Iterable[tuple[int, int]]) -> Iterator[Span]:
        """Keep the places that cut no word, number or character; give where they come from."""
        folded = self._folded
        for start, end in places:
            if not (
                _cuts(folded.text, start)
                or _cuts(folded.text, end)
                or (start and folded.starts[start] == folded.starts[start - 1])
                or (end < len(folded.ends) and folded.ends[end] == folded.ends[end - 1])
            ):
                yield Span(folded.starts[start], folded.ends[end - 1])


def _cuts(text: str, at: int) -> bool:
    """Tell whether a word or number goes on across ``at``; a unit may follow its number.

    ``mg`` stands in ``500mg``, but ``DM`` not in ``T2DM``.
    """
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before.isalnum() or before in _MARKS:
        if after.isalnum():
            head = text[max(at - 20, 0) : at].rstrip("0123456789.,/")[-1:]
            return not (before.isdecimal() and after.isalpha() and not head.isalpha())
        return before.isdecimal() and after in ".,/" and text[at + 1 : at + 2].isdecimal()
    if not (after.isdecimal() and before in ".,/"):
        return False
    first = text[max(at - 2, 0) : at - 1]
    return first.isdecimal() or (before == "." and not first.isalpha())  # .5


def _tokens(folded: str) -> list[_Token]:
    """Cut a folded text into words, numbers and single signs; soft punctuation is none of them."""
    return [
        _Token(sys.intern(m[0]), m.start(), m.end(), m.lastgroup or "sign")
        for m in _TOKEN.finditer(folded)
    ]


def words(text: str) -> list[str]:
    """Give the folded words and numbers of a text."""
    return [token.text for token in _tokens(fold(text).text) if token.kind != "sign"]


def _gaps(folded: str, tokens: Sequence[_Token]) -> list[str]:
    return [folded[a.end : b.start] for a, b in pairwise(tokens)]


def _gaps_agree(tokens: Sequence[_Token], gaps: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether gaps between tokens differ in nothing but blanks and soft punctuation.

    Between two numbers only blanks may differ: ``1-2`` is not ``1/2``.
    """
    return all(
        gap == want
        or (a.kind == b.kind == "number" and gap.strip() == want.strip() != "")
        or (not a.kind == b.kind == "number" and _soft(gap) and _soft(want))
        for (a, b), gap, want in zip(pairwise(tokens), gaps, wanted, strict=True)
    )


def _soft(gap: str) -> bool:
    return _GAP.fullmatch(gap) is not None


def _one_edit(a: str, b: str) -> bool:
    """Tell whether two words with the same first letter differ, are long and one edit apart."""
    if a == b:
        return False
    short, long = sorted((a, b), key=len)
    if sum(map(str.isalpha, short)) < MIN_FUZZY_LETTERS:
        return False
    at = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    if len(long) > len(short):
        return len(long) == len(short) + 1 and short[at:] == long[at + 1 :]
    swapped = short[at + 1 : at + 2] + short[at]
    return short[at + 1 :] == long[at + 1 :] or (
        swapped == long[at : at + 2] and short[at + 2 :] == long[at + 2 :]
    )
