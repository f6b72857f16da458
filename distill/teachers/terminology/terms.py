"""Flat term tables: any list of names with labels, as a TSV file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.spans import alternatives
from clin_edge.distill.teachers.terminology.match import (
    DictionaryTeacher,
    MatchSettings,
    Term,
    dictionary_teacher,
)
from clin_edge.distill.teachers.terminology.tables import check_width, rows

COLUMNS = ("id", "name", "synonyms", "label")


@dataclass(frozen=True, slots=True)
class TermsSettings:
    """Which rows are made terms.

    Attributes:
        labels: By label in the table, the label to give, or ``""`` to leave such rows out; a label
            that is not here stays as it stands. ``None`` is no mapping.
        match: What keeps the dictionary from matching what notes do not mean.
    """

    labels: Mapping[str, str] | None = None
    match: MatchSettings = field(default_factory=MatchSettings)


def terms_teacher(
    path: Path | Sequence[Path], name: str = "terms", settings: TermsSettings | None = None
) -> DictionaryTeacher:
    """Make a teacher of one or more tables; it marks the labels they give.

    A table is UTF-8, separated by tabs, without quoting, under a header that names ``id``,
    ``name``, ``synonyms`` (separated by ``|``) and ``label``, in any order among other columns. A
    term that comes with two labels is labelled with both, ``A|B``: one of these. Of a term in two
    tables the first names the code.

    Raises:
        InputError: With file and line, if a file cannot be read or a row is not as promised.
        TeacherError: If no usable term is left.
    """
    settings = settings or TermsSettings()
    paths = [path] if isinstance(path, Path) else list(path)
    terms = [term for table in paths for term in read_terms(table, settings.labels)]
    marked = {one for term in terms for one in alternatives(term.label)}
    return dictionary_teacher(name, marked, terms, settings.match, place=paths[0])


def read_terms(path: Path, labels: Mapping[str, str] | None = None) -> Iterator[Term]:
    """Read the terms of one table; ``labels`` as in ``TermsSettings``.

    Raises:
        InputError: As ``terms_teacher`` does.
    """
    lines = rows(path, "\t")
    _, header = next(lines, ("", []))
    if any(header.count(column) != 1 for column in COLUMNS):
        wanted = ", ".join(COLUMNS)
        raise InputError(f"{path}:1: needs a header with {wanted}, each once, separated by tabs")
    at = [header.index(column) for column in COLUMNS]
    for where, row in lines:
        check_width(where, row, len(header), "its header")
        code, main, synonyms, label = (row[i] for i in at)
        if not all(alternatives(label)) or any(c.isspace() for c in label):
            raise InputError(f"{where}: {label!r} is no label; write one word, such as DISEASE")
        if not code or not main:
            raise InputError(f"{where}: needs an id and a name")
        given = (labels or {}).get(label, label)
        if given:
            yield from (Term(text, code, given) for text in (main, *synonyms.split("|")) if text)
