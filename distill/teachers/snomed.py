"""SNOMED CT: names of disorders and symptoms out of the user's own RF2 snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.match import (
    DictionaryTeacher,
    MatchSettings,
    Term,
    dictionary_teacher,
)
from clin_edge.distill.teachers.tables import check_folder, check_width, rows

DISEASE, SYMPTOM = "DISEASE", "SYMPTOM"
SYMPTOM_ROOT = "418799008"  # Symptom (finding)
_IS_A = "116680003"
_FULL_NAME, _SYNONYM = "900000000000003001", "900000000000013009"
_LABELS = {"disorder": DISEASE, "finding": SYMPTOM}
_TAGGED = re.compile(rf"(.+) \(({'|'.join(_LABELS)})\)")
_WIDTHS = {"Concept": 5, "Description": 9, "Relationship": 10}
_FILE = re.compile(
    rf"x?sct2_({'|'.join(_WIDTHS)})_Snapshot(?:-(?P<language>[A-Za-z-]+))?_(\w+)_\d{{8}}\.txt"
)


@dataclass(frozen=True, slots=True)
class SnomedSettings:
    """Which concepts are made terms.

    Attributes:
        symptom_root: The concept below which a finding is a symptom; it is none itself.
        match: What keeps the dictionary from matching what notes do not mean.
    """

    symptom_root: str = SYMPTOM_ROOT
    match: MatchSettings = field(default_factory=MatchSettings)


def snomed_teacher(
    folder: Path, name: str = "snomed", settings: SnomedSettings | None = None
) -> DictionaryTeacher:
    """Make a teacher of the release somewhere below ``folder``; it marks DISEASE and SYMPTOM.

    Only active rows and English count. A concept whose fully specified name ends with
    ``(disorder)`` is a DISEASE; one whose ends with ``(finding)`` is a SYMPTOM if it lies below
    ``symptom_root``; all else is left out. Its terms are that name and its synonyms, without the
    tag. A term of a disorder and of a symptom is labelled ``DISEASE|SYMPTOM``: one of these.

    Raises:
        InputError: With file and line, if a table is missing, not RF2 or there in two releases.
        TeacherError: If no usable term is left.
    """
    settings = settings or SnomedSettings()
    tables = _find(folder)
    concepts = {row[0] for row in _active(tables, "Concept")}
    symptoms = _below(settings.symptom_root, tables)
    terms: list[Term] = []
    labels: dict[str, str] = {}
    synonyms: list[tuple[str, str]] = []
    for row in _active(tables, "Description"):
        concept, language, kind, text = row[4:8]
        if concept not in concepts or not language.startswith("en"):
            continue
        if kind == _SYNONYM:
            synonyms.append((concept, text))
        elif kind == _FULL_NAME and (match := _TAGGED.fullmatch(text)):
            label = _LABELS[match[2]]
            if label == DISEASE or concept in symptoms:
                labels[concept] = label
                terms.append(Term(match[1], concept, label))
    for concept, text in synonyms:
        if concept in labels:
            tagged = _TAGGED.fullmatch(text)
            terms.append(Term(tagged[1] if tagged else text, concept, labels[concept]))
    return dictionary_teacher(name, {DISEASE, SYMPTOM}, terms, settings.match, place=folder)


def _find(folder: Path) -> dict[str, list[Path]]:
    """Give the snapshot files of each table: English, one of each edition."""
    check_folder(folder, "an RF2 release, with its Snapshot files somewhere below")
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.rglob("*sct2_*_Snapshot*.txt")):
        match = _FILE.fullmatch(path.name)
        if match is None or not (match["language"] or "en").startswith("en"):
            continue
        key = match[1], path.name[: -len("_20260101.txt")]
        if key in found:
            raise InputError(
                f"{path}: a second release beside {found[key]}; name the folder of one release"
            )
        found[key] = path
    tables = {kind: [p for (k, _), p in found.items() if k == kind] for kind in _WIDTHS}
    for kind, paths in tables.items():
        if not paths:
            raise InputError(
                f"{folder}: holds no sct2_{kind}_Snapshot file of an RF2 release; "
                "unpack the release there, its Snapshot folder included"
            )
    return tables


def _active(tables: dict[str, list[Path]], kind: str) -> Iterator[list[str]]:
    for path in tables[kind]:
        for where, row in rows(path, "\t"):
            check_width(where, row, _WIDTHS[kind], f"an RF2 {kind} table")
            if row[2] == "1":
                yield row


def _below(root: str, tables: dict[str, list[Path]]) -> set[str]:
    """Give every concept that is a kind of ``root``, itself left out."""
    children: dict[str, list[str]] = {}
    for row in _active(tables, "Relationship"):
        if row[7] == _IS_A:
            children.setdefault(row[5], []).append(row[4])
    below: set[str] = set()
    left = [root]
    while left:
        for child in children.get(left.pop(), ()):
            if child not in below:
                below.add(child)
                left.append(child)
    return below - {root}
