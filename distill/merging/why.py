"""Which teachers taught a surface form, how often, with which code, and who disagreed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.grounding.places import Places
from clin_edge.distill.merging.rules import Said
from clin_edge.distill.merging.silver import Teachers, read_teachers

UNLABELLED = "unlabelled"


@dataclass(slots=True)
class Reasons:
    """What is known of a term: counts and codes, and no text of a note.

    ``places`` is how often it stands in ``notes`` of the ``n_read`` notes.
    ``labelled`` counts by teacher, label and code (what stands after the teacher's name in an
    entity's source: a terminology's code, a prompt's version). ``disagreed`` counts by teacher, the
    label that others gave, and what the teacher said there instead: ``unlabelled``, or the labels
    of its entities that overlap the place, with ``(other span)`` if they do not stand just there.
    """

    n_read: int = 0
    places: int = 0
    notes: int = 0
    labelled: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    disagreed: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def read_folder(folder: Path) -> Teachers:
    """Read every ``*.jsonl`` of a folder as a teacher's labelled notes.

    Raises:
        InputError: If there is none, or one cannot be read.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: holds no labelled notes (*.jsonl); see clin-edge label")
    return read_teachers(paths)


def why(term: str, notes: Iterable[Said]) -> Reasons:
    """Look a term up in the notes and say what each teacher made of each place where it stands.

    The term and the text are compared as ``fold`` folds them (case, Unicode forms, blanks) and
    where it cuts no word. A teacher disagrees at a place if others gave it a label that the
    teacher marks, and it did not.
    """
    reasons = Reasons()
    for said in notes:
        places = Places(next(iter(said.values())).note.text).normalised(term)
        reasons.n_read += 1
        reasons.places += len(places)
        reasons.notes += bool(places)
        for place in places:
            _look(place, said, reasons)
    return reasons


def as_dict(term: str, reasons: Reasons) -> dict[str, object]:
    """Give plain values for JSON."""
    return {
        "term": term,
        "notes_read": reasons.n_read,
        "places": reasons.places,
        "notes": reasons.notes,
        "labelled": [
            {"teacher": teacher, "label": label, "code": code, "places": n}
            for (teacher, label, code), n in _sorted(reasons.labelled)
        ],
        "disagreed": [
            {"teacher": teacher, "label": label, "instead": instead, "places": n}
            for (teacher, label, instead), n in _sorted(reasons.disagreed)
        ],
    }


def table(term: str, reasons: Reasons) -> list[str]:
    """Give the lines of a table; of one line if the term stands nowhere."""
    if not reasons.places:
        return [f"{term}: stands in none of {reasons.n_read:,} notes"]
    lines = [f"{term}: {reasons.places:,} places in {reasons.notes:,} of {reasons.n_read:,} notes"]
    for head, counts in (
        (("labelled by", "label", "code"), reasons.labelled),
        (("disagreed", "label", "said instead"), reasons.disagreed),
    ):
        wide = [max(map(len, column)) for column in zip(head, *counts, strict=True)]
        rows = [(head, "places"), *((key, f"{n:,}") for key, n in _sorted(counts))]
        if counts:
            lines += ["", *(_line(cells, wide, n) for cells, n in rows)]
    return lines


def _line(cells: Sequence[str], wide: Sequence[int], n: str) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, wide, strict=True))
    return f"{'  '.join(padded)}  {n:>7}"


def _look(place: Span, said: Said, reasons: Reasons) -> None:
    given: dict[str, list[Entity]] = {
        teacher: [e for e in item.entities if e.span == place] for teacher, item in said.items()
    }
    for teacher, entities in given.items():
        for entity in entities:
            reasons.labelled[teacher, entity.label, _code(teacher, entity.source)] += 1
    labels = sorted({entity.label for entities in given.values() for entity in entities})
    for teacher, item in said.items():
        for label in labels:
            meant = set(alternatives(label))
            if not meant <= item.covered or any(
                meant & set(alternatives(e.label)) for e in given[teacher]
            ):
                continue
            near = {
                e.label if e.span == place else f"{e.label} (other span)"
                for e in item.entities
                if e.span.overlaps(place)
            }
            reasons.disagreed[teacher, label, ", ".join(sorted(near)) or UNLABELLED] += 1


def _code(teacher: str, source: str) -> str:
    name, _, code = source.partition(":")
    return code if name == teacher else source


def _sorted(counts: Mapping[tuple[str, str, str], int]) -> list[tuple[tuple[str, str, str], int]]:
    return sorted(counts.items(), key=lambda pair: (pair[0][0], pair[0][1], -pair[1], pair[0][2]))
