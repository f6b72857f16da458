"""Flat term tables: names, synonyms and labels as they stand there."""

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError, TeacherError
from clin_edge.core.notes import Note
from clin_edge.distill.teachers.terminology.match import MatchSettings
from clin_edge.distill.teachers.terminology.terms import TermsSettings, terms_teacher

TABLE = (
    "id\tname\tsynonyms\tlabel\textra\n"
    "D:1\tgout\tpodagra|gouty arthritis\tDISEASE\t\n"
    'H:2\tJoint "locking"\t\tSYMPTOM?\tsigns, or not\n'
    "X:3\tpodagra\t\tFINDING\t\n"
)


def write(folder: Path, text: str, name: str = "mine.tsv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read(path: Path, text: str) -> list[tuple[str, str, str]]:
    entities = terms_teacher(path).read(Note("n", text)).entities
    return [(text[e.span.start : e.span.end], e.label, e.source) for e in entities]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_names_and_synonyms_are_found(tmp_path: Path, line_end: str, mark: str) -> None:
    path = write(tmp_path, mark + TABLE.replace("\n", line_end))
    assert read(path, 'gout, gouty arthritis, joint "locking", podagra') == [
        ("gout", "DISEASE", "terms:D:1"),
        ("gouty arthritis", "DISEASE", "terms:D:1"),
        ('joint "locking', "SYMPTOM?", "terms:H:2"),
        ("podagra", "DISEASE|FINDING", "terms:D:1"),
    ]
    assert terms_teacher(path).marked == {"DISEASE", "SYMPTOM?", "FINDING"}


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "label\tsynonyms\tid\tname\nROUTE|FORM\t\t7\tpatch\n")
    assert read(path, "one patch") == [("patch", "FORM|ROUTE", "terms:7")]
    assert terms_teacher(path).marked == {"ROUTE", "FORM"}


def test_settings_reach_the_dictionary(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    teacher = terms_teacher(
        path, settings=TermsSettings(match=MatchSettings(stop=frozenset({"gout"})))
    )
    assert teacher.read(Note("n", "gout")).entities == ()


def test_labels_can_be_renamed_or_left_out(tmp_path: Path) -> None:
    settings = TermsSettings(labels={"SYMPTOM?": "SYMPTOM", "FINDING": ""})
    teacher = terms_teacher(write(tmp_path, TABLE), settings=settings)
    assert [e.label for e in teacher.read(Note("n", 'joint "locking", podagra')).entities] == [
        "SYMPTOM",
        "DISEASE",
    ]
    assert teacher.marked == {"DISEASE", "SYMPTOM"}


def test_several_tables_make_one_teacher(tmp_path: Path) -> None:
    header = TABLE.partition("\n")[0]
    other = write(tmp_path, f"{header}\nY:1\tgouty arthritis of the toe\t\tDISEASE\t\n", "b.tsv")
    teacher = terms_teacher([write(tmp_path, TABLE), other])
    found = teacher.read(Note("n", "gouty arthritis; gouty arthritis of the toe")).entities
    assert [e.source for e in found] == ["terms:D:1", "terms:Y:1"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"mine\.tsv:1: needs a header with id, name, synonyms, label"),
        ("id\tname\tlabel\n", r"mine\.tsv:1: needs a header"),
        ("id,name,synonyms,label\n", r"mine\.tsv:1: needs a header"),
        (TABLE + "1\tx\n", r"mine\.tsv:5: 2 fields, its header has 5"),
        (TABLE + "1\tache\t\tNO LABEL\t\n", r"mine\.tsv:5: 'NO LABEL' is no label; write one word"),
        (TABLE + "1\tache\t\t\t\n", r"mine\.tsv:5: '' is no label"),
        (TABLE + "1\tache\t\tA||B\t\n", r"mine\.tsv:5: 'A\|\|B' is no label"),
        (TABLE + "1\t\tache\tA\t\n", r"mine\.tsv:5: needs an id and a name"),
    ],
)
def test_what_is_not_as_promised_is_named(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        terms_teacher(write(tmp_path, table))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv: cannot be read \(No such file"):
        terms_teacher(tmp_path / "none.tsv")
    path = tmp_path / "latin.tsv"
    path.write_bytes(TABLE.encode() + "1\tmigräne\t\tA\t\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.tsv:5: not UTF-8 \(byte 0xe4\)"):
        terms_teacher(path)


def test_no_usable_term_is_a_failed_teacher(tmp_path: Path) -> None:
    header = TABLE.partition("\n")[0]
    with pytest.raises(TeacherError, match=r"mine\.tsv: holds no usable term"):
        terms_teacher(write(tmp_path, f"{header}\n1\t12\t\tA\t\n"))
