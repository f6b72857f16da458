"""RxNorm's own, English, unsuppressed names become terms, and nothing else."""

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError, TeacherError
from clin_edge.core.notes import Note
from clin_edge.distill.teachers.terminology.rxnorm import RxNormSettings, base_name, rxnorm_teacher


def row(
    code: int,
    kind: str,
    name: str,
    *,
    language: str = "ENG",
    source: str = "RXNORM",
    suppress: str = "N",
) -> str:
    return (
        f"{code}|{language}||||||{code}|{code}|{code}||{source}|{kind}|{code}|{name}||{suppress}||"
    )


ROWS = (
    row(1, "IN", "minocycline hydrochloride"),
    row(2, "PIN", "amlodipine besylate"),
    row(3, "BN", "Zyntoran"),
    row(4, "MIN", "amoxicillin / clavulanate"),
    row(5, "IN", "amoxicillin"),
    row(6, "IN", "clavulanate potassium"),
    row(7, "BN", "Amoxicillin and Clavulanate Potassium"),
    row(8, "BN", "Retirol", suppress="O"),
    row(9, "IN", "editorin", suppress="E"),
    row(10, "IN", "andersine", source="MMSL"),
    row(11, "IN", "fremdin", language="SPA"),
    row(12, "SCD", "productol 500 MG Oral Capsule"),
    row(15, "SBD", "amoxicillin 250 MG Oral Capsule [Amoxonil]"),
    row(13, "DF", "Oral Tablet"),
    row(13, "ET", "Tabella"),
    row(5, "TMSY", "amOXICILLIN trihydratum"),
    row(12, "SY", "productol cap"),
    row(14, "IN", 'quote"d drug'),
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "rrf").mkdir()
    text = "".join(line + "\n" for line in ROWS)
    (tmp_path / "rrf" / "RXNCONSO.RRF").write_text(text, encoding="utf-8")
    return tmp_path


def read(folder: Path, text: str, settings: RxNormSettings | None = None) -> list[tuple[str, str]]:
    item = rxnorm_teacher(folder, settings=settings).read(Note("n", text))
    assert {e.label for e in item.entities} <= {"MEDICATION"} == item.marked
    return [(text[e.span.start : e.span.end], e.source) for e in item.entities]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("Minocycline hydrochloride", "rxnorm:1"),
        ("minocycline", "rxnorm:1"),
        ("amlodipine besylate", "rxnorm:2"),
        ("zyntoran", "rxnorm:3"),
        ("amoxicillin/clavulanate", "rxnorm:4"),
        ("amoxicillin trihydratum", "rxnorm:5"),
        ('quote"d drug', "rxnorm:14"),
    ],
)
def test_names_are_found_with_their_codes(release: Path, text: str, source: str) -> None:
    assert read(release, f"on {text} daily") == [(text, source)]


@pytest.mark.parametrize(
    "text",
    [
        "Retirol",
        "editorin",
        "andersine",
        "fremdin",
        "500 MG Oral Capsule",
        "oral tablet",
        "Tabella",
    ],
)
def test_what_the_filters_leave_out(release: Path, text: str) -> None:
    assert read(release, f"on {text} daily") == []


def test_a_brand_that_lists_ingredients_is_read_as_these(release: Path) -> None:
    text = "amoxicillin and clavulanate potassium"
    assert [found for found, _ in read(release, text)] == ["amoxicillin", "clavulanate potassium"]
    assert read(release, text, RxNormSettings(listing_brands=True)) == [(text, "rxnorm:7")]


def test_products_give_their_ingredients_and_brands(release: Path) -> None:
    text = "productol 500 MG Oral Capsule; amoxonil; amoxicillin; productol cap"
    assert read(release, text) == [
        ("productol", "rxnorm:12"),
        ("amoxonil", "rxnorm:15"),
        ("amoxicillin", "rxnorm:5"),
        ("productol", "rxnorm:12"),
    ]
    assert read(release, "productol, amoxonil", RxNormSettings(products=False)) == []


def test_combinations_and_bases_can_be_left_out(release: Path) -> None:
    text = "amoxicillin/clavulanate"
    assert len(read(release, text)) == 1
    assert len(read(release, text, RxNormSettings(combinations=False))) == 2
    assert read(release, "minocycline", RxNormSettings(bases=False)) == []


def test_the_file_may_lie_in_the_folder_itself(release: Path) -> None:
    assert read(release / "rrf", "amoxicillin") == [("amoxicillin", "rxnorm:5")]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("minocycline hydrochloride", "minocycline"),
        ("Naproxen Sodium, anhydrous", "Naproxen"),
        ("hydrochloride", None),
        ("lithium", None),
    ],
)
def test_base_name(name: str, base: str | None) -> None:
    assert base_name(name) == base


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such folder; expected an RxNorm release"):
        rxnorm_teacher(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no RXNCONSO\.RRF"):
        rxnorm_teacher(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        rxnorm_teacher(tmp_path / "file")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"1|ENG|x\n", r"RXNCONSO\.RRF:2: 3 fields, RXNCONSO\.RRF has 19"),
        (b"\xff\n", r"RXNCONSO\.RRF:2: not UTF-8 \(byte 0xff\)"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "RXNCONSO.RRF").write_bytes(row(1, "IN", "aspirin").encode() + b"\n" + raw)
    with pytest.raises(InputError, match=message) as caught:
        rxnorm_teacher(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_usable_term_is_a_failed_teacher(tmp_path: Path) -> None:
    (tmp_path / "RXNCONSO.RRF").write_text(row(1, "DF", "Oral Tablet") + "\n")
    with pytest.raises(TeacherError, match=r"RXNCONSO\.RRF: holds no usable term for rxnorm"):
        rxnorm_teacher(tmp_path)
