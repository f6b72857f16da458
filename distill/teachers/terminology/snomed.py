"""SNOMED CT: names of disorders, symptoms and drugs out of the user's own RF2 snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from clin_edge.core.errors import InputError
from clin_edge.core.spans import alternatives
from clin_edge.distill.teachers.terminology.match import (
    DictionaryTeacher,
    MatchSettings,
    Term,
    dictionary_teacher,
)
from clin_edge.distill.teachers.terminology.tables import check_folder, check_width, rows

SYMPTOM_ROOT = "418799008"  # Symptom (finding)
_IS_A = "116680003"
_FULL_NAME, _SYNONYM = "900000000000003001", "900000000000013009"
_DRUG_TAGS = (
    *("substance", "product", "medicinal product", "medicinal product form", "clinical drug"),
    *("real clinical drug", "pharmaceutical / biologic product"),
)
LABELS: Mapping[str, str] = MappingProxyType(
    {"disorder": "DISEASE", "finding": "SYMPTOM", **dict.fromkeys(_DRUG_TAGS, "MEDICATION")}
)
"""The label of what each semantic tag names."""
ROOTS: Mapping[str, str] = MappingProxyType({"finding": SYMPTOM_ROOT})
"""Of these tags only what lies below a concept is labelled."""
_TAGGED = re.compile(r"(.+) \(([^()]+)\)")
_WIDTHS = {"Concept": 5, "Description": 9, "Relationship": 10}
_FILE = re.compile(
    rf"x?sct2_({'|'.join(_WIDTHS)})_Snapshot(?:-(?P<language>[A-Za-z-]+))?_(\w+)_\d{{8}}\.txt"
)


@dataclass(frozen=True, slots=True)
class SnomedSettings:
    """Which concepts are made terms, and with which label.

    Attributes:
        labels: By semantic tag, the label; what has another tag is left out.
        roots: By semantic tag, the concept below which a concept with that tag counts; the root
            itself does not, nor does another concept of its name.
        match: What keeps the dictionary from matching what notes do not mean.
    """

    labels: Mapping[str, str] = field(default_factory=lambda: LABELS)
    roots: Mapping[str, str] = field(default_factory=lambda: ROOTS)
    match: MatchSettings = field(default_factory=MatchSettings)

    def __post_init__(self) -> None:
        """Refuse an empty mapping, and labels that are none."""
        if not self.labels:
            raise ValueError("labels needs a semantic tag and its label")
        for tag, label in self.labels.items():
            if not all(alternatives(label)):
                raise ValueError(f"the label of {tag!r} is empty")


def snomed_teacher(
    folder: Path, name: str = "snomed", settings: SnomedSettings | None = None
) -> DictionaryTeacher:
    """Make a teacher of the release somewhere below ``folder``.

    Only active rows and English count. A concept is labelled by the semantic tag at the end of
    its fully specified name: ``(disorder)`` is a DISEASE; ``(finding)`` a SYMPTOM if it lies below
    *Symptom*; ``(substance)`` and the tags of products are MEDICATION; all else is left out. Its
    terms are that name and its synonyms, without the tag. A term of a disorder and of a symptom is
    labelled ``DISEASE|SYMPTOM``: one of these. The teacher marks the labels that the release has
    terms of: one without drugs says nothing about MEDICATION.

    Raises:
        InputError: With file and line, if a table is missing, not RF2 or there in two releases.
        TeacherError: If no usable term is left.
    """
    settings = settings or SnomedSettings()
    tables = _find(folder)
    concepts = {row[0] for row in _active(tables, "Concept")}
    below = {tag: _below(root, tables) for tag, root in settings.roots.items()}
    terms: list[Term] = []
    labels: dict[str, str] = {}
    synonyms: list[tuple[str, str]] = []
    too_wide: set[str] = set()
    for row in _active(tables, "Description"):
        concept, language, kind, text = row[4:8]
        if concept not in concepts or not language.startswith("en"):
            continue
        if kind == _SYNONYM:
            synonyms.append((concept, text))
        elif kind == _FULL_NAME and (match := _TAGGED.fullmatch(text)):
            full, tag = match.groups()
            if concept in settings.roots.values():
                too_wide.add(full.casefold())
            if tag in settings.labels and concept in below.get(tag, concepts):
                labels[concept] = settings.labels[tag]
                terms.append(Term(full, concept, labels[concept]))
    for concept, text in synonyms:
        if concept in labels:
            tagged = _TAGGED.fullmatch(text)
            bare = tagged[1] if tagged and tagged[2] in settings.labels else text
            terms.append(Term(bare, concept, labels[concept]))
    terms = [term for term in terms if term.name.casefold() not in too_wide]
    marked = {one for label in labels.values() for one in alternatives(label)}
    return dictionary_teacher(name, marked, terms, settings.match, place=folder)


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
