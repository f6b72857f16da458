"""Flat term tables: any list of names with labels, as a TSV file."""

from __future__ import annotations

from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.spans import alternatives
from clin_edge.distill.teachers.match import (
    DictionaryTeacher,
    MatchSettings,
    Term,
    dictionary_teacher,
)
from clin_edge.distill.teachers.tables import check_width, rows

COLUMNS = ("id", "name", "synonyms", "label")


def terms_teacher(
    path: Path, name: str = "terms", settings: MatchSettings | None = None
) -> DictionaryTeacher:
    """Make a teacher of a table; it marks the labels the table gives, as they stand there.

    The table is UTF-8, separated by tabs, without quoting, under a header that names ``id``,
    ``name``, ``synonyms`` (separated by ``|``) and ``label``, in any order among other columns. A
    term that comes with two labels is labelled with both, ``A|B``: one of these.

    Raises:
        InputError: With file and line, if the file cannot be read or a row is not as promised.
        TeacherError: If no usable term is left.
    """
    lines = rows(path, "\t")
    _, header = next(lines, ("", []))
    if any(header.count(column) != 1 for column in COLUMNS):
        wanted = ", ".join(COLUMNS)
        raise InputError(f"{path}:1: needs a header with {wanted}, each once, separated by tabs")
    at = [header.index(column) for column in COLUMNS]
    terms = []
    marked: set[str] = set()
    for where, row in lines:
        check_width(where, row, len(header), "its header")
        code, main, synonyms, label = (row[i] for i in at)
        if not all(alternatives(label)) or any(c.isspace() for c in label):
            raise InputError(f"{where}: {label!r} is no label; write one word, such as DISEASE")
        if not code or not main:
            raise InputError(f"{where}: needs an id and a name")
        marked.update(alternatives(label))
        terms += [Term(text, code, label) for text in (main, *synonyms.split("|")) if text]
    return dictionary_teacher(name, marked, terms, settings, place=path)
