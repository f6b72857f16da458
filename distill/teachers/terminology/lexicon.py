"""Terms of a terminology, made into the token sequences a dictionary looks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clin_edge.distill.teachers.terminology.everyday import EverydaySettings, everyday
from clin_edge.distill.teachers.terminology.noise import STOP_WORDS
from clin_edge.distill.teachers.terminology.tokens import (
    Tokens,
    gap,
    join_hyphens,
    joined,
    tokenize,
    words,
)
from clin_edge.distill.teachers.terminology.variants import adjective, common_heads, spellings

_ACRONYMS_END = 8  # no acronym has more characters


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """What a dictionary finds beyond its names, and what keeps it from what notes do not mean.

    The defaults were chosen by strict F1 on bc5cdr's training and development documents.

    Attributes:
        min_chars: The letters and digits a term needs, plural and possessive left off. An acronym
            needs two.
        acronym_chars: A term all in capitals with at most so many letters and digits is an
            acronym, found only where the text has the same capitals, or these and a plural s. A
            term too short for ``min_chars`` is one too. Where most long names are in capitals as
            well, capitals say nothing, and only the too short are acronyms.
        max_tokens: Longer terms are left out; notes do not hold them.
        stop: Names left out, whatever their case and plural; see ``noise.read_stop_list``.
        everyday: When a name of one word is an everyday word and left out; ``None`` to keep all.
        word_orders: Find ``breast cancer`` for ``cancer of the breast`` and the like.
        adjectives: Find ``hypertensive`` for ``hypertension`` and the like, for these labels.
        abbreviations: Follow abbreviations that the note defines through the note.
        locants: For these labels the ``L-``, ``5-`` or ``alpha-`` before a term belongs to it.
    """

    min_chars: int = 3
    acronym_chars: int = 4
    max_tokens: int = 16
    stop: frozenset[str] = frozenset()
    everyday: EverydaySettings | None = field(default_factory=EverydaySettings)
    word_orders: bool = True
    adjectives: frozenset[str] = frozenset({"DISEASE"})
    abbreviations: bool = True
    locants: frozenset[str] = frozenset({"MEDICATION"})

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
class Sense:
    """One meaning of a token sequence.

    ``gaps`` are the signs the term has between its tokens, ``None`` where it has none; ``exact``
    are its letters if their case matters; ``possessive`` says that it ends with ``'s``.
    """

    code: str
    label: str
    gaps: tuple[str | None, ...] | None = None
    exact: tuple[str, ...] | None = None
    possessive: bool = False


Forms = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Token sequences and what they mean, and the words that a hyphen may cut in two."""

    senses: dict[Forms, tuple[Sense, ...]]
    closed: frozenset[str]


def build(terms: Iterable[Term], settings: MatchSettings) -> Lexicon:
    """Make every usable term's token sequences; of equal senses the first names the code."""
    terms = list(terms)
    # A terminology written in capitals throughout does not tell acronyms from words.
    long_names = [term.name for term in terms if len(term.name) > _ACRONYMS_END]
    capitals = sum(name.isupper() for name in long_names)
    acronym_chars = 0 if 2 * capitals > len(long_names) else settings.acronym_chars
    names = [tokenize(term.name) for term in terms]
    closed = {form for tokens in names for form in tokens.forms if len(form) > 5}
    for term, tokens in zip(terms, names, strict=True):
        closed.update(joined(term.name, tokens))
    stop = {tokenize(name).forms for name in settings.stop}
    dropped = _everyday(terms, names, settings, acronym_chars)
    heads = common_heads(term.name for term in terms) if settings.word_orders else frozenset()
    lexicon = Lexicon({}, frozenset(closed))
    for term, tokens in zip(terms, names, strict=True):
        n_chars = sum(map(len, tokens.forms))
        acronym = n_chars <= max(acronym_chars, settings.min_chars - 1) and term.name.isupper()
        if tokens.forms in stop or n_chars < (2 if acronym else settings.min_chars):
            continue
        if (term.label, _key(tokens.forms, term.name, acronym_chars)) in dropped:
            continue
        for spelling in _spellings(term, settings, heads, acronym=acronym):
            _add(lexicon, spelling, term, settings, acronym=acronym)
    return lexicon


def _spellings(
    term: Term, settings: MatchSettings, heads: frozenset[str], *, acronym: bool
) -> Iterator[str]:
    if acronym or not settings.word_orders:
        yield term.name
    else:
        yield from spellings(term.name, heads)
    if term.label in settings.adjectives and not acronym and (found := adjective(term.name)):
        yield found


def _add(
    lexicon: Lexicon, name: str, term: Term, settings: MatchSettings, *, acronym: bool
) -> None:
    whole = tokenize(name)
    closed = join_hyphens(name, whole, lexicon.closed, blanks=True)
    for tokens in {t.forms: t for t in (whole, closed)}.values():
        forms = tokens.forms
        if not 0 < len(forms) <= settings.max_tokens:
            continue
        if all(form.isdigit() or form in STOP_WORDS for form in forms):
            continue
        gaps, exact = _gaps(name, tokens), words(name) if acronym else None
        sense = Sense(term.code, term.label, gaps, exact, name.endswith(("'s", "’s")))
        known = lexicon.senses.get(forms, ())
        if not any(_same(sense, other) for other in known):
            lexicon.senses[forms] = (*known, sense)


def _everyday(
    terms: Sequence[Term], names: Sequence[Tokens], settings: MatchSettings, acronym_chars: int
) -> frozenset[tuple[str, str]]:
    """Give label and key of every name that is everyday words."""
    if settings.everyday is None:
        return frozenset()
    by_label: dict[str, list[tuple[str, Forms]]] = {}
    for term, tokens in zip(terms, names, strict=True):
        key = _key(tokens.forms, term.name, acronym_chars)
        by_label.setdefault(term.label, []).append((key, tokens.forms))
    return frozenset(
        (label, key)
        for label, listed in by_label.items()
        for key in everyday(listed, settings.everyday)
    )


def _key(forms: Forms, name: str, acronym_chars: int) -> str:
    return name if len(name) <= acronym_chars and name.isupper() else " ".join(forms)


def _gaps(text: str, tokens: Tokens) -> tuple[str | None, ...] | None:
    between = zip(tokens.ends, tokens.starts[1:], strict=False)
    gaps = tuple(gap(text, end, start) for end, start in between)
    return gaps if any(gaps) else None


def _same(a: Sense, b: Sense) -> bool:
    return (a.label, a.gaps, a.exact) == (b.label, b.gaps, b.exact)
