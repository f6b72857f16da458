"""Finds the terms of a lexicon in text, by an automaton over tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clin_edge.core.errors import MissingInstallError
from clin_edge.core.spans import Span, alternatives
from clin_edge.distill.teachers.terminology.abbreviations import Definition, definitions
from clin_edge.distill.teachers.terminology.lexicon import MatchSettings, Sense, Term, build
from clin_edge.distill.teachers.terminology.tokens import (
    Tokens,
    gap,
    is_locant,
    join_hyphens,
    tokenize,
    without_possessive,
    words,
)

_UNKNOWN = "\0"


@dataclass(frozen=True, slots=True)
class Match:
    """A term found: its place, its label (``A|B`` if its senses differ) and its first code."""

    span: Span
    label: str
    code: str


class Dictionary:
    """Finds terms in text; unchanged once made, so threads may share it.

    A term is found where the text's tokens have the forms of its own (see ``tokens.form``) and
    stand apart by blanks, one line break, a hyphen, or the signs the term itself has there. So no
    match crosses the end of a sentence or a paragraph, and none cuts a word. Of matches that
    overlap the longest (in characters) is kept, then the leftmost.

    Of several senses of one form the first given names the code; if their labels differ, the
    label is all of them, ``A|B``: one of these.

    An abbreviation that the text defines has the label and code of its long form wherever the text
    has it; if its long form is no term, it is none either, whatever the terminology says.
    """

    def __init__(self, terms: Iterable[Term], settings: MatchSettings | None = None) -> None:
        try:
            from ahocorasick_rs import AhoCorasick, Implementation, MatchKind
        except ModuleNotFoundError as error:
            raise MissingInstallError("teachers", str(error.name)) from None
        self._settings = settings or MatchSettings()
        lexicon = build(terms, self._settings)
        self._closed = lexicon.closed
        self._senses = list(lexicon.senses.values())
        # One character a word: the automaton is small, cuts no word and counts in tokens.
        self._signs: dict[str, str] = {}
        self._automaton = AhoCorasick(
            ["".join(map(self._sign, forms)) for forms in lexicon.senses],
            matchkind=MatchKind.Standard,
            store_patterns=False,
            implementation=Implementation.ContiguousNFA,
        )

    def __len__(self) -> int:
        """Count the token sequences that can match."""
        return len(self._senses)

    def _sign(self, form: str) -> str:
        number = len(self._signs) + 1
        # Surrogates are no characters.
        return self._signs.setdefault(form, chr(number + 0x800 * (number >= 0xD800)))

    def find(self, text: str) -> Iterator[Match]:
        """Yield the matches in text order; takes time in proportion to the text's length."""
        tokens = join_hyphens(text, tokenize(text), self._closed)
        kept = {m.span: m for m in self._longest(text, tokens)}
        if self._settings.abbreviations:
            kept = _followed(text, tokens, kept, list(definitions(text)))
        yield from sorted(kept.values(), key=lambda match: match.span)

    def _longest(self, text: str, tokens: Tokens) -> Iterator[Match]:
        taken = bytearray(len(tokens.forms))
        for _, first, last, senses in sorted(self._all(text, tokens), key=lambda m: (m[0], m[1])):
            # What was taken before is as long or longer, so it cannot lie between the two ends.
            if taken[first] or taken[last]:
                continue
            taken[first : last + 1] = b"\1" * (last + 1 - first)
            labels = {one for sense in senses for one in alternatives(sense.label)}
            if labels & self._settings.locants:
                while first and not taken[first - 1] and is_locant(text, tokens, first - 1):
                    first -= 1
                    taken[first] = 1
            start, end = tokens.starts[first], tokens.ends[last]
            if not any(sense.possessive for sense in senses):
                end = without_possessive(text, start, end)
            yield Match(Span(start, end), "|".join(sorted(labels)), senses[0].code)

    def _all(self, text: str, tokens: Tokens) -> Iterator[tuple[int, int, int, list[Sense]]]:
        """Yield minus the length in characters, the first and the last token, and the senses."""
        signs = "".join([self._signs.get(form, _UNKNOWN) for form in tokens.forms])
        for number, first, after in self._automaton.find_matches_as_indexes(
            signs, overlapping=True
        ):
            fitting = _fitting(self._senses[number], text, tokens, first, after)
            if fitting:
                yield tokens.starts[first] - tokens.ends[after - 1], first, after - 1, fitting


def _fitting(
    senses: tuple[Sense, ...], text: str, tokens: Tokens, first: int, after: int
) -> list[Sense]:
    """Keep the senses whose signs and, where it matters, case the text has."""
    gaps = [gap(text, tokens.ends[i], tokens.starts[i + 1]) for i in range(first, after - 1)]
    start, end = tokens.starts[first], tokens.ends[after - 1]
    return [
        sense
        for sense in senses
        if all(
            text_gap == "" or (text_gap is not None and sense.gaps and text_gap == sense.gaps[i])
            for i, text_gap in enumerate(gaps)
        )
        and (sense.exact is None or _same_letters(sense.exact, words(text[start:end])))
    ]


def _same_letters(exact: tuple[str, ...], found: tuple[str, ...]) -> bool:
    """Tell whether the letters are the same, case included; a plural's small s may follow."""
    return len(exact) == len(found) and all(
        f in (e, f"{e}s") for e, f in zip(exact, found, strict=True)
    )


def _followed(
    text: str, tokens: Tokens, kept: dict[Span, Match], defined: list[Definition]
) -> dict[Span, Match]:
    """Label the abbreviations by their long forms, the first definition of each."""
    by_end = {span.end: match for span, match in kept.items()}
    meant: dict[str, Match | None] = {}
    for definition in defined:
        long = by_end.get(definition.long_at.end)
        whole = long is not None and long.span.start <= definition.long_at.start
        if meant.get(definition.short) is None:
            meant[definition.short] = long if whole else None
    by_word: dict[str, list[str]] = {}
    for short in sorted(meant, key=lambda s: (-len(s), s)):
        by_word.setdefault(words(short)[0], []).append(short)
    if not meant:
        return kept
    places: dict[int, tuple[Span, Match | None]] = {}
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        first = words(text[start:end])
        for key in dict.fromkeys((first[0], first[0].removesuffix("s"))):
            for short in by_word.get(key, ()):
                span = _place(text, start, short)
                if span is not None:
                    places.setdefault(span.start, (span, meant[short]))
    return _with(kept, list(places.values()))


def _place(text: str, start: int, short: str) -> Span | None:
    """Give the span of ``short``, or its plural, if it begins at ``start`` and cuts no word."""
    end = start + len(short)
    if not text.startswith(short, start):
        return None
    if text[end : end + 1] == "s":
        end += 1
    return None if text[end : end + 1].isalnum() else Span(start, end)


def _with(kept: dict[Span, Match], found: list[tuple[Span, Match | None]]) -> dict[Span, Match]:
    """Put the abbreviations in the place of matches that are not longer."""
    result = dict(kept)
    cover: dict[int, Span] = {}
    for span in kept:
        cover.update(dict.fromkeys(range(span.start, span.end), span))
    for span, long in found:
        across = {cover[i] for i in range(span.start, span.end) if i in cover}
        if any(other.end - other.start > span.end - span.start for other in across):
            continue
        for other in across:
            result.pop(other, None)
        if long is not None:
            result[span] = Match(span, long.label, long.code)
    return result
