"""Active disorders and symptoms of an RF2 snapshot become terms, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError, TeacherError
from clin_edge.core.notes import Note
from clin_edge.distill.teachers.terminology.snomed import (
    SYMPTOM_ROOT,
    SnomedSettings,
    snomed_teacher,
)

FULL_NAME, SYNONYM, IS_A = "900000000000003001", "900000000000013009", "116680003"
HEADERS = {
    "Concept": "id effectiveTime active moduleId definitionStatusId",
    "Description": "id effectiveTime active moduleId conceptId languageCode typeId term "
    "caseSignificanceId",
    "Relationship": "id effectiveTime active moduleId sourceId destinationId relationshipGroup "
    "typeId characteristicTypeId modifierId",
}
CONCEPTS = [
    *((code, "1") for code in ("10", "11", "12", "20", "21", "22", "23", "30", "40", SYMPTOM_ROOT)),
    ("13", "0"),
]
DESCRIPTIONS = [  # concept, active, type, term
    ("10", "1", FULL_NAME, "Anaemia (chronic) (disorder)"),
    ("10", "1", SYNONYM, "Long-standing anaemia"),
    ("10", "0", SYNONYM, "Green sickness"),
    ("10", "1", "900000000000550004", "Thin blood"),
    ("11", "1", FULL_NAME, 'Von "Quote" disease (disorder)'),
    ("11", "1", SYNONYM, "Quotitis (disorder)"),
    ("12", "1", FULL_NAME, "Vertigo (disorder)"),
    ("13", "1", FULL_NAME, "Retired plague (disorder)"),
    ("13", "1", SYNONYM, "Plaguelet"),
    ("20", "1", FULL_NAME, "Chest pain (finding)"),
    ("21", "1", FULL_NAME, "Sharp chest pain (finding)"),
    ("21", "1", SYNONYM, "Vertigo"),
    ("22", "1", FULL_NAME, "Marital status (finding)"),
    ("23", "1", FULL_NAME, "Former symptom kind (finding)"),
    ("30", "1", FULL_NAME, "Appendicectomy (procedure)"),
    ("30", "1", SYNONYM, "Appendix removal"),
    ("40", "1", FULL_NAME, "Named without a tag"),
    (SYMPTOM_ROOT, "1", FULL_NAME, "Complaint kind (finding)"),
]
RELATIONSHIPS = [  # source, destination, active, type
    ("20", SYMPTOM_ROOT, "1", IS_A),
    ("21", "20", "1", IS_A),
    ("20", "21", "1", IS_A),  # a cycle must not hang
    ("22", SYMPTOM_ROOT, "1", "246075003"),
    ("23", SYMPTOM_ROOT, "0", IS_A),
]


def write_table(
    folder: Path, kind: str, rows: Sequence[Sequence[str]], name: str | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "-en" if kind == "Description" else ""
    path = folder / (name or f"sct2_{kind}_Snapshot{suffix}_INT_20260101.txt")
    lines = ["\t".join(HEADERS[kind].split()), *("\t".join(row) for row in rows)]
    path.write_bytes("".join(line + "\r\n" for line in lines).encode())
    return path


def description(
    concept: str, active: str, kind: str, term: str, language: str = "en"
) -> tuple[str, ...]:
    return ("1", "20260101", active, "m", concept, language, kind, term, "c")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    tables = tmp_path / "SnomedCT" / "Snapshot" / "Terminology"
    write_table(tables, "Concept", [(c, "20260101", active, "m", "d") for c, active in CONCEPTS])
    write_table(tables, "Description", [description(*row) for row in DESCRIPTIONS])
    write_table(
        tables,
        "Relationship",
        [("1", "20260101", a, "m", s, d, "0", t, "c", "m") for s, d, a, t in RELATIONSHIPS],
    )
    # Neighbours in a release, which are not read.
    full = tmp_path / "SnomedCT" / "Full"
    full.mkdir()
    for name in ("sct2_Concept_Full_INT_20260101.txt", "sct2_Identifier_Snapshot_INT_20260101.txt"):
        (full / name).write_bytes(b"\xff\xfe")
    return tmp_path


def read(
    folder: Path, text: str, settings: SnomedSettings | None = None
) -> list[tuple[str, str, str]]:
    item = snomed_teacher(folder, settings=settings).read(Note("n", text))
    assert item.marked == {"DISEASE", "SYMPTOM"}
    return [(text[e.span.start : e.span.end], e.label, e.source) for e in item.entities]


@pytest.mark.parametrize(
    ("text", "label", "source"),
    [
        ("anaemia (chronic", "DISEASE", "snomed:10"),
        ("long standing anaemia", "DISEASE", "snomed:10"),
        ('Von "Quote" disease', "DISEASE", "snomed:11"),
        ("quotitis", "DISEASE", "snomed:11"),
        ("chest pains", "SYMPTOM", "snomed:20"),
        ("sharp chest pain", "SYMPTOM", "snomed:21"),
        ("vertigo", "DISEASE|SYMPTOM", "snomed:12"),
    ],
)
def test_names_are_found(release: Path, text: str, label: str, source: str) -> None:
    assert read(release, f"with {text}) today") == [(text, label, source)]


@pytest.mark.parametrize(
    "text",
    [
        "green sickness",
        "thin blood",
        "retired plague",
        "plaguelet",
        "marital status",
        "former symptom kind",
        "appendicectomy",
        "appendix removal",
        "named without a tag",
        "complaint kind",
    ],
)
def test_what_the_filters_leave_out(release: Path, text: str) -> None:
    assert read(release, f"with {text} today") == []


def test_the_root_of_symptoms_can_be_another(release: Path) -> None:
    settings = SnomedSettings(roots={"finding": "20"})
    assert read(release, "chest pain", settings) == []
    assert len(read(release, "sharp chest pain", settings)) == 1


def test_tags_and_their_labels_can_be_others(release: Path) -> None:
    labels = {"procedure": "PROCEDURE", "finding": "FINDING|SYMPTOM"}
    teacher = snomed_teacher(release, settings=SnomedSettings(labels=labels, roots={}))
    text = "appendix removal, quotitis, marital status"
    found = [
        (text[e.span.start : e.span.end], e.label) for e in teacher.read(Note("n", text)).entities
    ]
    assert found == [("appendix removal", "PROCEDURE"), ("marital status", "FINDING|SYMPTOM")]
    assert teacher.marked == {"PROCEDURE", "FINDING", "SYMPTOM"}
    with pytest.raises(ValueError, match="the label of 'finding' is empty"):
        SnomedSettings(labels={"finding": "A|"})
    with pytest.raises(ValueError, match="needs a semantic tag"):
        SnomedSettings(labels={})


def test_drugs_are_marked_only_if_the_release_has_any(release: Path) -> None:
    tables = release / "SnomedCT" / "Snapshot" / "Terminology"
    drugs = [
        description("50", "1", FULL_NAME, "Zolpidem (substance)"),
        description("51", "1", FULL_NAME, "Product containing zolpidem (medicinal product)"),
        description("51", "1", SYNONYM, "Nightol"),
    ]
    write_table(tables, "Description", drugs, "sct2_Description_Snapshot-en_US1000124_20260301.txt")
    concepts = [(c, "20260101", "1", "m", "d") for c in ("50", "51")]
    write_table(tables, "Concept", concepts, "sct2_Concept_Snapshot_US1000124_20260301.txt")
    item = snomed_teacher(release).read(Note("n", "zolpidem, nightol"))
    assert [(e.label, e.source) for e in item.entities] == [
        ("MEDICATION", "snomed:50"),
        ("MEDICATION", "snomed:51"),
    ]
    assert item.marked == {"DISEASE", "SYMPTOM", "MEDICATION"}


def test_a_concept_with_the_name_of_a_root_is_too_wide(release: Path) -> None:
    tables = release / "SnomedCT" / "Snapshot" / "Terminology"
    more = [description("10", "1", SYNONYM, "complaint kind")]
    write_table(tables, "Description", more, "sct2_Description_Snapshot-en_US1000124_20260301.txt")
    assert read(release, "complaint kind") == []


def test_other_languages_are_left_out_and_other_editions_read(release: Path) -> None:
    tables = release / "SnomedCT" / "Snapshot" / "Terminology"
    spanish = [description("10", "1", SYNONYM, "anemia larga", "es")]
    write_table(tables, "Description", spanish, "sct2_Description_Snapshot-es_INT_20260101.txt")
    mixed = [
        description("10", "1", SYNONYM, "anemia mezclada", "es"),
        description("10", "1", SYNONYM, "yankee anemia", "en"),
    ]
    write_table(tables, "Description", mixed, "sct2_Description_Snapshot-en_US1000124_20260301.txt")
    text = "anemia larga, anemia mezclada, yankee anemia"
    assert [found for found, *_ in read(release, text)] == ["yankee anemia"]


def test_two_releases_below_are_refused(release: Path) -> None:
    write_table(release / "old", "Concept", [], "sct2_Concept_Snapshot_INT_20250101.txt")
    with pytest.raises(InputError, match=r"a second release beside .*; name the folder of one"):
        snomed_teacher(release)


def test_a_missing_folder_or_table_is_named(release: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such folder; expected an RF2 release"):
        snomed_teacher(release / "none")
    next(release.rglob("sct2_Relationship_*")).unlink()
    with pytest.raises(InputError, match="holds no sct2_Relationship_Snapshot file"):
        snomed_teacher(release)


@pytest.mark.parametrize("kind", sorted(HEADERS))
def test_a_broken_line_is_named(release: Path, kind: str) -> None:
    path = next(release.rglob(f"sct2_{kind}_Snapshot*"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"1\t2\r\n")
    line = whole.count(b"\n") + 1
    with pytest.raises(InputError, match=rf"{path.name}:{line}: 2 fields, an RF2 {kind} table has"):
        snomed_teacher(release)
    path.write_bytes(whole + b"\xff\r\n")
    with pytest.raises(InputError, match=rf"{path.name}:{line}: not UTF-8"):
        snomed_teacher(release)


def test_no_usable_term_is_a_failed_teacher(tmp_path: Path) -> None:
    for kind in HEADERS:
        write_table(tmp_path, kind, [])
    with pytest.raises(TeacherError, match="holds no usable term for snomed"):
        snomed_teacher(tmp_path)
