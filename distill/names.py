"""Names from term tables: they tell apart what a corpus does not, and stand in for other names."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.teachers.terminology.match import MatchSettings
from clin_edge.distill.teachers.terminology.terms import TermsSettings, read_terms, terms_teacher

Vary = Callable[[Labelled, int, int], Labelled]
"""Gives another telling of a labelled note, by epoch and the note's number."""

LONGEST_ACRONYM = 5
# Words as they stand in notes: no commas, no brackets. Names with digits are codes, which look like
# those of genes and cells, and short ones in capitals mean too many things.
_PLAIN = re.compile(r"[^\W\d_](?:[^\W\d_]|[' /-]){2,38}[^\W\d_]")


@dataclass(frozen=True, slots=True)
class NameSettings:
    """What the names of term tables (``id name synonyms label``) are used for.

    ``narrow``: an entity ``A|B`` whose words a table calls A, and none calls B, becomes an A; the
    names in ``stop`` decide nothing. ``exchange``: in each epoch, this share of a note's different
    mentions has its words exchanged, at every place alike, for a name of the same label that has
    at most ``max_words`` words.

    Source: mention replacement, Dai & Adel 2020.
    """

    tables: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    narrow: bool = False
    exchange: float = 0.0
    max_words: int = 4

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if not 0 <= self.exchange <= 1 or self.max_words < 1:
            raise ValueError("exchange lies between 0 and 1, max_words is at least 1")
        if (self.narrow or self.exchange) and not self.tables:
            raise ValueError("narrow and exchange need tables")


def read_names(
    paths: Sequence[Path], labels: Iterable[str], *, max_words: int = 4
) -> dict[str, list[str]]:
    """Give the names of each label that a note could hold as they are, sorted, each once.

    Names with digits, commas or brackets, and short ones in capitals, are left out; longer ones in
    capitals are given in lower case.

    Raises:
        InputError: If a table cannot be read.
    """
    found: dict[str, set[str]] = {label: set() for label in labels}
    for path in paths:
        for term in read_terms(path):
            name = term.name
            if name.isupper():
                name = name.lower() if len(name) > LONGEST_ACRONYM else ""
            if term.label in found and len(name.split()) <= max_words and _PLAIN.fullmatch(name):
                found[term.label].add(name)
    return {label: sorted(names) for label, names in found.items()}


def narrower(paths: Sequence[Path], stop: Iterable[str]) -> Callable[[Labelled], Labelled]:
    """Make what narrows the labels ``A|B`` of a note's entities by what tables call their words.

    Raises:
        InputError: If a table cannot be read.
    """
    settings = TermsSettings(match=MatchSettings(stop=frozenset(stop)))
    teacher = terms_teacher(paths, settings=settings)

    def narrow(item: Labelled) -> Labelled:
        if all(len(alternatives(e.label)) == 1 for e in item.entities):
            return item
        called = {e.span: e.label for e in teacher.read(item.note).entities}
        entities = []
        for entity in item.entities:
            name = called.get(entity.span, "")
            choice = alternatives(entity.label)
            narrowed = replace(entity, label=name) if name in choice and len(choice) > 1 else entity
            entities.append(narrowed)
        # What the set marks stays: in silence it still says that neither label is there.
        return replace(item, entities=tuple(entities))

    return narrow


def exchanger(names: Mapping[str, Sequence[str]], share: float, seed: int) -> Vary:
    """Make what exchanges a ``share`` of a note's mentions for other names, see ``NameSettings``.

    Drawn from seed, epoch and the note's number alone, so that a resumed run repeats it. Of an
    entity ``A|B`` the name is one of A's. Entities that overlap others stay.
    """
    names = {label: some for label, some in names.items() if some}

    def vary(item: Labelled, epoch: int, number: int) -> Labelled:
        rng = np.random.default_rng([seed, epoch, number])
        text = item.note.text
        drawn: dict[tuple[str, str], str] = {}
        exchanged: dict[Span, Entity] = {}  # by the old place, what stands there in the new text
        parts, ends, moves = [], [0], [0]  # from each end on, places have moved so far
        for entity in _apart(item.entities):
            start, end = entity.span.start, entity.span.end
            label = alternatives(entity.label)[0]
            words = (entity.label, text[start:end].lower())
            if words not in drawn:
                some = names.get(label) if rng.random() < share else None
                drawn[words] = some[int(rng.integers(len(some)))] if some else ""
            if name := drawn[words]:
                name = name[0].upper() + name[1:] if text[start].isupper() else name
                place = Span(start + moves[-1], start + moves[-1] + len(name))
                exchanged[entity.span] = replace(entity, span=place, label=label)
                parts += [text[ends[-1] : start], name]
                moves.append(place.end - end)
                ends.append(end)
        if not exchanged:
            return item
        parts.append(text[ends[-1] :])

        def moved(entity: Entity) -> Entity:
            by = moves[bisect_right(ends, entity.span.start) - 1]
            return replace(entity, span=Span(entity.span.start + by, entity.span.end + by))

        entities = tuple(exchanged.get(e.span) or moved(e) for e in item.entities)
        return replace(item, note=Note(item.note.id, "".join(parts)), entities=entities)

    return vary


def _apart(entities: Iterable[Entity]) -> list[Entity]:
    """Give, in text order, the entities that overlap no other."""
    ordered = sorted(entities, key=lambda e: (e.span.start, e.span.end))
    return [
        e
        for i, e in enumerate(ordered)
        if all(o.span.end <= e.span.start for o in ordered[:i])
        and all(o.span.start >= e.span.end for o in ordered[i + 1 :])
    ]
