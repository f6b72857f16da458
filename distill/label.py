"""Teachers label notes: one file of labelled notes a teacher."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, labelled_json
from clin_edge.core.logs import log
from clin_edge.core.notes import NoteFormat, check_notes, read_notes
from clin_edge.core.spans import alternatives
from clin_edge.distill.teachers import Teacher
from clin_edge.distill.teachers.spec import make_teachers


def label_notes(
    notes_places: Sequence[str],
    fmt: NoteFormat,
    specs: Sequence[str],
    out: Path,
    labels: frozenset[str] | None,
) -> dict[str, dict[str, int]]:
    """Write ``out/<teacher>.jsonl`` for every teacher: every note, in order, with its entities.

    Files appear whole and all together at the end, or not at all. Notes are read once and one at
    a time, so memory does not grow with their number.

    Args:
        notes_places: What ``read_notes`` reads.
        fmt: Names of columns; the longest note.
        specs: Teachers, such as ``rxnorm:FOLDER`` (see ``make_teachers``).
        out: The folder to write to; it is made.
        labels: Keep only these; all if ``None``. An entity labelled ``A|B`` is kept for either.

    Returns:
        By teacher, the number of entities of each label, zeros included.

    Raises:
        InputError: If a note or a terminology cannot be read, a teacher marks none of ``labels``,
            or ``out`` cannot be written.
        TeacherError: If a teacher has nothing to teach or fails.
    """
    check_notes(notes_places, fmt)
    teachers = make_teachers(specs)
    for teacher in teachers:
        if labels is not None and not teacher.marked & labels:
            marks = ", ".join(sorted(teacher.marked))
            raise InputError(f"{teacher.name}: marks {marks}, none of the labels asked for")
    paths = {teacher.name: out / f"{teacher.name}.jsonl" for teacher in teachers}
    _spare_the_notes(notes_places, paths.values())
    try:
        return _write(notes_places, fmt, teachers, paths, labels)
    except OSError as error:
        where = error.filename or out
        raise InputError(f"{where}: cannot be written ({error.strerror or error})") from None


def _write(
    notes_places: Sequence[str],
    fmt: NoteFormat,
    teachers: Sequence[Teacher],
    paths: dict[str, Path],
    labels: frozenset[str] | None,
) -> dict[str, dict[str, int]]:
    parts = {n: path.with_name(f".{path.name}.{os.getpid()}.part") for n, path in paths.items()}
    counts: dict[str, Counter[str]] = {}
    for teacher in teachers:
        paths[teacher.name].parent.mkdir(parents=True, exist_ok=True)
        kept = teacher.marked if labels is None else teacher.marked & labels
        counts[teacher.name] = Counter(dict.fromkeys(sorted(kept), 0))
    try:
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
                for name, part in parts.items()
            }
            for note in read_notes(notes_places, fmt):
                for teacher in teachers:
                    item = _only(teacher.read(note), labels)
                    counts[teacher.name].update(entity.label for entity in item.entities)
                    streams[teacher.name].write(labelled_json(item) + "\n")
        for name, part in parts.items():
            part.replace(paths[name])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    for name, found in counts.items():
        if not found.total():
            log.warning("%s: found nothing in any note", name)
    return {name: dict(found) for name, found in counts.items()}


def _only(item: Labelled, labels: frozenset[str] | None) -> Labelled:
    if labels is None:
        return item
    entities = tuple(e for e in item.entities if not labels.isdisjoint(alternatives(e.label)))
    return Labelled(item.note, entities, item.marked & labels, item.dropped)


def _spare_the_notes(notes_places: Sequence[str], paths: Iterable[Path]) -> None:
    """Refuse to write over a file that the notes are read from."""
    read = {Path(place).resolve() for place in notes_places}
    for path in paths:
        if path.resolve() in read:
            raise InputError(f"{path}: notes are read from it; choose another folder to write to")
