"""Human labels as a teacher: what a person marked in the very same note."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.notes import Note
from clin_edge.distill.teachers import SetAside


@dataclass(frozen=True, slots=True)
class GoldTeacher:
    """Gives the labels of notes that were labelled before, by id."""

    name: str
    marked: frozenset[str]
    items: dict[str, Labelled] = field(repr=False)

    def read(self, note: Note) -> Labelled:
        """Give the note with its human labels.

        Raises:
            SetAside: If it was not labelled, or had another text then.
        """
        item = self.items.get(note.id)
        if item is None:
            raise SetAside("not among the gold notes")
        if item.note.text != note.text:
            raise SetAside("another text in the gold notes")
        entities = tuple(replace(e, source=f"{self.name}:human") for e in item.entities)
        return replace(item, entities=entities)


def gold_teacher(path: Path, name: str) -> GoldTeacher:
    """Make a teacher of labelled notes, a JSONL file or a brat folder.

    Raises:
        InputError: If they cannot be read.
    """
    items = read_labelled(path)
    marked = frozenset(label for item in items for label in item.marked)
    return GoldTeacher(name, marked, {item.note.id: item for item in items})
