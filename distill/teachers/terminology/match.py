"""Dictionary teachers: the terms of a terminology, found in a note by longest match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clin_edge.core.errors import TeacherError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity
from clin_edge.distill.teachers.terminology.dictionary import Dictionary, Match
from clin_edge.distill.teachers.terminology.lexicon import MatchSettings, Term

__all__ = [
    "Dictionary",
    "DictionaryTeacher",
    "Match",
    "MatchSettings",
    "Term",
    "dictionary_teacher",
]


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
