"""Dictionary teachers: the terms of a terminology, found in a note by longest match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clin_edge.core.errors import TeacherError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.teachers.noise import EVERYDAY, STOP_WORDS
from clin_edge.distill.teachers.tokens import Tokens, gap, tokenize, words

_ACRONYMS_END = 8  # no acronym has more characters


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """What keeps a dictionary from matching what notes do not mean.

    The defaults were chosen by strict and lenient F1 on bc5cdr's training documents.

    Attributes:
        min_chars: The letters and digits a term needs, plural and possessive left off. An acronym
            needs two.
        acronym_chars: A term all in capitals with at most so many letters and digits is an
            acronym, found only where the text has the same capitals, or these and a plural s. A
            term too short for ``min_chars`` is one too. Where most long names are in capitals as
            well, capitals say nothing, and only the too short are acronyms.
        max_tokens: Longer terms are left out; notes do not hold them.
        everyday: Names left out, whatever their case and plural.
    """

    min_chars: int = 3
    acronym_chars: int = 4
    max_tokens: int = 16
    everyday: frozenset[str] = EVERYDAY

    def __post_init__(self) -> None:
        """Refuse lengths below one."""
        if min(self.min_chars, self.max_tokens) < 1 or self.acronym_chars < 0:
            raise ValueError("min_chars and max_tokens are at least 1, acronym_chars at least 0")


@dataclass(frozen=True, slots=True)
class Term:
    """A name of a terminology's concept, and the label of what it names."""

    name: str
    code: str
    label: str


@dataclass(frozen=True, slots=True)
class Match:
    """A term found: its place, its label (``A|B`` if its senses differ) and its first code."""

    span: Span
    label: str
    code: str


@dataclass(frozen=True, slots=True)
class _Sense:
    """One meaning of a token sequence.

    ``gaps`` are the signs the term has between its tokens, ``None`` where it has none; ``exact``
    are its letters if their case matters.
    """

    code: str
    label: str
    gaps: tuple[str | None, ...] | None
    exact: tuple[str, ...] | None


class Dictionary:
    """Finds terms in text; unchanged once made, so threads may share it.

    A term is found where the text's tokens have the forms of its own (see ``tokens.form``) and
    stand apart by blanks, one line break, a hyphen, or the signs the term itself has there. So no
    match crosses the end of a sentence or a paragraph, and none cuts a word. Of matches that
    overlap the longest (in characters) is kept, then the leftmost.

    Of several senses of one form the first given names the code; if their labels differ, the
    label is all of them, ``A|B``: one of these.
    """

    def __init__(self, terms: Iterable[Term], settings: MatchSettings | None = None) -> None:
        settings = settings or MatchSettings()
        terms = list(terms)
        # A terminology written in capitals throughout does not tell acronyms from words.
        long_names = [term.name for term in terms if len(term.name) > _ACRONYMS_END]
        capitals = sum(name.isupper() for name in long_names)
        acronym_chars = 0 if 2 * capitals > len(long_names) else settings.acronym_chars
        everyday = {tokenize(name).forms for name in settings.everyday}
        self._senses: dict[tuple[str, ...], tuple[_Sense, ...]] = {}
        for term in terms:
            tokens = tokenize(term.name)
            if not 0 < len(tokens.forms) <= settings.max_tokens or tokens.forms in everyday:
                continue
            if all(form.isdigit() or form in STOP_WORDS for form in tokens.forms):
                continue
            n_chars = sum(map(len, tokens.forms))
            acronym = n_chars <= max(acronym_chars, settings.min_chars - 1) and term.name.isupper()
            if n_chars < (2 if acronym else settings.min_chars):
                continue
            gaps, exact = _gaps(term.name, tokens), words(term.name) if acronym else None
            sense = _Sense(term.code, term.label, gaps, exact)
            known = self._senses.get(tokens.forms, ())
            if not any(_same(sense, other) for other in known):
                self._senses[tokens.forms] = (*known, sense)
        lengths: dict[str, set[int]] = {}
        for forms in self._senses:
            lengths.setdefault(forms[0], set()).add(len(forms))
        self._lengths = {first: tuple(sorted(found)) for first, found in lengths.items()}

    def __len__(self) -> int:
        """Count the token sequences that can match."""
        return len(self._senses)

    def find(self, text: str) -> Iterator[Match]:
        """Yield the matches in text order; takes time in proportion to the text's length."""
        tokens = tokenize(text)
        taken = bytearray(len(tokens.forms))
        kept = []
        found = sorted(self._all(text, tokens), key=_longest_then_leftmost)
        for start, end, first, last, senses in found:
            # What was taken before is as long or longer, so it cannot lie between the two ends.
            if not (taken[first] or taken[last]):
                taken[first : last + 1] = b"\1" * (last + 1 - first)
                kept.append((start, end, senses))
        for start, end, senses in sorted(kept, key=lambda match: match[0]):
            labels = {one for sense in senses for one in alternatives(sense.label)}
            yield Match(Span(start, end), "|".join(sorted(labels)), senses[0].code)

    def _all(self, text: str, tokens: Tokens) -> Iterator[_Found]:
        forms, n_tokens = tokens.forms, len(tokens.forms)
        for first, form in enumerate(forms):
            for length in self._lengths.get(form, ()):
                after = first + length
                if after > n_tokens:
                    break
                senses = self._senses.get(forms[first:after])
                if senses is None:
                    continue
                fitting = _fitting(senses, text, tokens, first, after)
                if fitting:
                    last = after - 1
                    yield tokens.starts[first], tokens.ends[last], first, last, fitting


_Found = tuple[int, int, int, int, list[_Sense]]


def _longest_then_leftmost(found: _Found) -> tuple[int, int]:
    return found[0] - found[1], found[0]


def _gaps(text: str, tokens: Tokens) -> tuple[str | None, ...] | None:
    between = zip(tokens.ends, tokens.starts[1:], strict=False)
    gaps = tuple(gap(text, end, start) for end, start in between)
    return gaps if any(gaps) else None


def _same(a: _Sense, b: _Sense) -> bool:
    return (a.label, a.gaps, a.exact) == (b.label, b.gaps, b.exact)


def _fitting(
    senses: tuple[_Sense, ...], text: str, tokens: Tokens, first: int, after: int
) -> list[_Sense]:
    """Keep the senses whose signs and, where it matters, case the text has."""
    between = range(first, after - 1)
    gaps = [gap(text, tokens.ends[i], tokens.starts[i + 1]) for i in between]
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
    return all(f in (e, f"{e}s") for e, f in zip(exact, found, strict=True))


@dataclass(frozen=True, slots=True)
class DictionaryTeacher:
    """A teacher that marks the terms of a dictionary, each with score 1."""

    name: str
    marked: frozenset[str]
    dictionary: Dictionary

    def read(self, note: Note) -> Labelled:
        """Give the note with every term found in it."""
        entities = tuple(
            Entity(match.span, match.label, source=f"{self.name}:{match.code}")
            for match in self.dictionary.find(note.text)
        )
        return Labelled(note, entities, self.marked)


def dictionary_teacher(
    name: str,
    marked: Iterable[str],
    terms: Iterable[Term],
    settings: MatchSettings | None = None,
    *,
    place: Path,
) -> DictionaryTeacher:
    """Make a teacher of terms that were read from ``place``.

    Raises:
        TeacherError: If no term is left to find.
    """
    dictionary = Dictionary(terms, settings)
    if not len(dictionary):
        raise TeacherError(
            f"{place}: holds no usable term for {name}; is it whole, and the terminology you meant?"
        )
    return DictionaryTeacher(name, frozenset(marked), dictionary)
