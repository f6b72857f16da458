"""Teachers' files in, one merged file of labelled notes out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, keep_labels, labelled_json, read_labelled
from clin_edge.core.logs import log
from clin_edge.core.spans import Entity
from clin_edge.distill.merging.rules import Said

Teachers = Mapping[str, Mapping[str, Labelled]]
"""By teacher and note id, what it says. A note that a teacher could not read is not there."""


def read_teachers(paths: Sequence[Path], labels: frozenset[str] | None = None) -> Teachers:
    """Read one file of labelled notes a teacher; the teacher is called as its file, less suffix.

    Args:
        paths: The files, in the order that the merged notes are to follow.
        labels: Keep only these; a teacher that marks none of them is left out, and that is said.

    Raises:
        InputError: If a file cannot be read, two are called the same, one id has two texts, or no
            teacher is left.
    """
    teachers: dict[str, dict[str, Labelled]] = {}
    texts: dict[str, tuple[str, Path]] = {}
    for path in paths:
        if path.stem in teachers:
            raise InputError(f"{path}: a second teacher called {path.stem!r}; rename the file")
        items = read_labelled(path)
        for item in items:
            text, other = texts.setdefault(item.note.id, (item.note.text, path))
            if text != item.note.text:
                raise InputError(f"{path}: the note {item.note.id!r} has another text in {other}")
        if labels is not None:
            items = keep_labels(items, labels)
        teachers[path.stem] = {item.note.id: item for item in items}
    for name in [n for n, items in teachers.items() if not any(i.marked for i in items.values())]:
        if labels is not None:
            log.warning("%s: left out, it marks none of the labels asked for", name)
            del teachers[name]
    if not teachers:
        raise InputError("no teacher marks any of the labels asked for")
    return teachers


def said_by(teachers: Teachers, names: Iterable[str] | None = None) -> dict[str, Said]:
    """Turn it round: by note id, what each of the named teachers (default: all) says of it.

    Notes stand in the order of the first teacher's file, then the second's new ones, and so on.
    """
    notes: dict[str, dict[str, Labelled]] = {}
    for name in teachers if names is None else names:
        for note_id, item in teachers[name].items():
            notes.setdefault(note_id, {})[name] = item
    return dict(notes)


def merged_items(
    notes: Mapping[str, Said], entities: Mapping[str, Sequence[Entity]]
) -> list[Labelled]:
    """Give the merged notes; each marks what any teacher that has it marks."""
    return [
        Labelled(
            next(iter(said.values())).note,
            tuple(entities[note_id]),
            frozenset(label for item in said.values() for label in item.marked),
        )
        for note_id, said in notes.items()
    ]


def write_silver(path: Path, items: Iterable[Labelled]) -> None:
    """Write labelled notes, one JSON object a line; the file appears whole or not at all.

    Raises:
        InputError: If it cannot be written.
    """
    write_whole(path, (labelled_json(item) for item in items))


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file that appears whole or not at all; raises ``InputError`` if not."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in lines)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
