"""From what a language model quotes to where it stands in the note, or a counted reason why not.

A quote is looked for in three ways, each looser than the one before:

exact
    The same characters.
normalised
    The same after folding (see ``fold``): case, Unicode forms, quotation marks, dashes, blanks and
    line breaks. Every folded character knows the characters it came from, so the span is exact.
fuzzy
    The same words in the same order. A word of six letters or more may be one edit away (a letter
    added, missing, replaced, or two neighbours swapped), though not in its first letter, which
    turns words round (typical, atypical); at most one word in three, or one in all. Numbers and
    signs are as quoted. Between words, blanks and up to three of ``, - / ( ) [ ] ' "`` may differ,
    between two numbers blanks alone; such signs around the quote are taken if they stand there.

No match cuts a word or a number: ``5 mg`` is not found in ``2.5 mg`` nor ``2 tablets`` in
``1/2 tablets`` nor ``HA`` in ``HALDOL``.
Where a quote stands at several places, the words before it (``near``) must tell them apart, or
there must be as many claims as places; no words before it can mean the text's start. A fuzzy
match is taken where there is no closer one, or where all the words before it agree, two at least,
and before no closer one as many do. What stays open is dropped and counted, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clin_edge.core.spans import Entity, Span
from clin_edge.distill.grounding.places import Places, words

Occurrences = Literal["all", "claimed"]
MAX_QUOTE_CHARS = 400
MAX_PLACES = 300  # what stands at more places is ambiguous
_NEAR_WORDS = 6
_NEAR_CHARS = 400
_WAYS = ("exact", "normalised", "fuzzy")


@dataclass(frozen=True, slots=True)
class Mention:
    """A claim that ``quote`` stands in a text and bears ``label``: not yet a place.

    ``near`` are the few words before it; empty at the text's start, or where none were given.
    """

    quote: str = field(repr=False)
    label: str
    near: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Grounded:
    """What became of mentions.

    Attributes:
        entities: In text order; a place and label come once.
        placed: Mentions with a place, by the way it was found: exact, normalised, fuzzy.
        dropped: Mentions without, by reason: ``not in the text``, ``only inside a word``,
            ``ambiguous``, ``repeated``, ``empty``, ``too long``.
    """

    entities: tuple[Entity, ...]
    placed: Counter[str]
    dropped: Counter[str]


def ground(
    text: str,
    mentions: Iterable[Mention],
    *,
    source: str = "",
    occurrences: Occurrences = "claimed",
) -> Grounded:
    """Place mentions in ``text``; the order they come in does not matter.

    Args:
        text: The note, or the part of it that was asked about.
        mentions: What was claimed.
        source: The entities' source; ``/normalised`` or ``/fuzzy`` is added where the text does
            not say exactly what was quoted.
        occurrences: ``all`` marks every other place as well where a placed quote stands, exactly
            or normalised, but for places inside a longer entity; so nothing has to tell such
            places apart.
    """
    fitting = _Fitting(text)
    claims: list[_Claim] = []
    dropped: Counter[str] = Counter()
    for mention in mentions:
        claim = fitting.claim(mention)
        if isinstance(claim, _Claim):
            claims.append(claim)
        else:
            dropped[claim] += 1
    taken, unclear = _settle(claims, dropped)
    found = {(span, label): claim.way for (span, label), claim in taken.items()}
    placed = Counter(claim.way for claim in taken.values())
    if occurrences == "all":
        settled = [claim for claim in unclear if claim.way != "fuzzy"]
        unclear = [claim for claim in unclear if claim.way == "fuzzy"]
        placed.update(claim.way for claim in settled)
        for quote, label in {(c.quote, c.label) for c in (*taken.values(), *settled)}:
            for span, way in fitting.close(quote).items():
                key = span, label
                found[key] = min(found.get(key, way), way, key=_WAYS.index)
        for key in _inside({span for span, _ in found}, found.keys() - taken.keys()):
            del found[key]
    if unclear:
        dropped["ambiguous"] += len(unclear)
    return Grounded(
        tuple(
            Entity(span, label, source=source if way == "exact" else f"{source}/{way}")
            for (span, label), way in sorted(found.items())
        ),
        placed,
        dropped,
    )


@dataclass(frozen=True, slots=True)
class _Claim:
    """A mention with the places that fit it equally well, and the way they were found.

    ``opens``: it may be meant to stand at the very start, since no words before it were given.
    """

    way: str
    label: str
    quote: str = field(repr=False)
    places: tuple[Span, ...]
    opens: bool


class _Fitting:
    """The places that fit a mention; what fits a quote is looked up once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._view = Places(text)
        self._close: dict[str, dict[Span, str]] = {}
        self._fuzzy: dict[str, dict[Span, str]] = {}

    def claim(self, mention: Mention) -> _Claim | str:
        """Find the places that fit a mention best; or give the reason why there are none."""
        quote = mention.quote.strip()
        if not any(c.isalnum() for c in quote):
            return "empty"
        if len(quote) > MAX_QUOTE_CHARS:
            return "too long"
        near = words(mention.near[-_NEAR_CHARS:])[-_NEAR_WORDS:]
        found = self.close(quote) or self.fuzzy(quote)
        if not found:
            return "only inside a word" if self._view.holds(quote) else "not in the text"
        if len(found) > MAX_PLACES:
            return "ambiguous"
        agreed = self._agreed(found, near)
        best = max(agreed.values())
        if len(near) > 1 and best < len(near) and len(self.fuzzy(quote)) <= MAX_PLACES:
            looser = self._agreed(self.fuzzy(quote), near)
            agreed |= {span: n for span, n in looser.items() if n == len(near)}
            best = max(agreed.values())
            found = self.fuzzy(quote) | found
        # The words before it count for more than the spelling: a model seldom keeps the case.
        fits = [span for span, n in agreed.items() if n == best]
        way = min((found[span] for span in fits), key=_WAYS.index)
        places = tuple(span for span in fits if found[span] == way)
        opens = not near and self._view.opens(places[0])
        return _Claim(way, mention.label, quote, places, opens)

    def close(self, quote: str) -> dict[Span, str]:
        """Give the exact and normalised places, each with its way."""
        if quote not in self._close:
            self._close[quote] = {
                span: "exact" if self._text[span.start : span.end] == quote else "normalised"
                for span in self._view.normalised(quote, MAX_PLACES + 1)
            }
        return self._close[quote]

    def fuzzy(self, quote: str) -> dict[Span, str]:
        """Give the fuzzy places that are none of the others."""
        if quote not in self._fuzzy:
            spans = self._view.fuzzy(quote, MAX_PLACES + 1)
            close = self.close(quote)
            self._fuzzy[quote] = {span: "fuzzy" for span in spans if span not in close}
        return self._fuzzy[quote]

    def _agreed(self, found: Iterable[Span], near: Sequence[str]) -> dict[Span, int]:
        return {span: self._view.agreement(span, near) for span in found}


_Key = tuple[Span, str]


def _inside(spans: Iterable[Span], keys: Iterable[_Key]) -> list[_Key]:
    """Give the keys whose span lies inside a longer one."""
    inside: set[Span] = set()
    reach = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if span.end <= reach:
            inside.add(span)
        reach = max(reach, span.end)
    return [key for key in keys if key[0] in inside]


def _settle(
    claims: Iterable[_Claim], dropped: Counter[str]
) -> tuple[dict[_Key, _Claim], list[_Claim]]:
    """Give each claim a place of its own, as far as that leaves no choice, and those left over.

    A claim with one place left takes it, until none is forced. Of the rest, those that fit the
    same places take them all if they are as many; if fewer, one may stand where the text starts.
    """
    taken: dict[_Key, _Claim] = {}
    unclear: list[_Claim] = []

    def left(claim: _Claim) -> tuple[Span, ...]:
        return tuple(span for span in claim.places if (span, claim.label) not in taken)

    pending = sorted(claims, key=lambda c: (_WAYS.index(c.way), c.label, c.quote, c.places))
    decided = True
    while decided:
        undecided = []
        for claim in pending:
            places = left(claim)
            if len(places) > 1:
                undecided.append(claim)
            elif places:
                taken[places[0], claim.label] = claim
            else:
                dropped["repeated"] += 1
        decided = len(undecided) < len(pending)
        pending = undecided
    groups: dict[tuple[tuple[Span, ...], str], list[_Claim]] = {}
    for claim in pending:
        groups.setdefault((left(claim), claim.label), []).append(claim)
    for (places, label), group in sorted(groups.items(), key=lambda item: item[0]):
        if len(group) < len(places):
            first = next((c for c in group if c.opens and c.places[0] == places[0]), None)
            if first is not None and (places[0], label) not in taken:
                taken[places[0], label] = first
                group.remove(first)
            unclear += group
            continue
        new = [span for span in places if (span, label) not in taken]
        taken |= {(span, label): claim for span, claim in zip(new, group, strict=False)}
        if len(group) > len(new):
            dropped["repeated"] += len(group) - len(new)
    return taken, unclear
