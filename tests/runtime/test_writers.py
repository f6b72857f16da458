"""Writers: exact formats, the final name only for a whole output, nothing lost or overwritten."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import read_labelled
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.demo import check_offsets
from clin_edge.runtime.writers import format_named
from clin_edge.runtime.writers.brat import _file_name
from strategies import apart, texts

BUNDLE = "sha256:3f9a0c12d4e5"


def record(note_id: str, text: str, *found: tuple[int, int, str, float]) -> Record:
    entities = tuple(Entity(Span(start, end), label, score) for start, end, label, score in found)
    return Record(Note(note_id, text), entities, Coverage(len(text), len(text), 1), BUNDLE)


RECORDS = (
    record("n1", "Metformin for diabetes", (0, 9, "MEDICATION", 0.99871), (14, 22, "DISEASE", 1.0)),
    record("ward/7", ""),
    record(
        'a,"b"', 'said "chest\r\npain"\n🙂 fever', (6, 17, "SYMPTOM", 0.5), (21, 26, "ADE", 0.0)
    ),
)

JSONL = (
    '{"id": "n1", "entities": ['
    '{"start": 0, "end": 9, "label": "MEDICATION", "text": "Metformin", "score": 0.9987}, '
    '{"start": 14, "end": 22, "label": "DISEASE", "text": "diabetes", "score": 1.0}], '
    '"coverage": {"chars": 22, "read": 22, "windows": 1}, "bundle": "sha256:3f9a0c12d4e5"}\n'
    '{"id": "ward/7", "entities": [], '
    '"coverage": {"chars": 0, "read": 0, "windows": 1}, "bundle": "sha256:3f9a0c12d4e5"}\n'
    '{"id": "a,\\"b\\"", "entities": ['
    '{"start": 6, "end": 17, "label": "SYMPTOM", "text": "chest\\r\\npain", "score": 0.5}, '
    '{"start": 21, "end": 26, "label": "ADE", "text": "fever", "score": 0.0}], '
    '"coverage": {"chars": 26, "read": 26, "windows": 1}, "bundle": "sha256:3f9a0c12d4e5"}\n'
)
CSV = (
    "id,start,end,label,text,score,assertion\n"
    "n1,0,9,MEDICATION,Metformin,0.9987,\n"
    "n1,14,22,DISEASE,diabetes,1.0000,\n"
    '"a,""b""",6,17,SYMPTOM,"chest\r\npain",0.5000,\n'
    '"a,""b""",21,26,ADE,fever,0.0000,\n'
)
CSV_NO_TEXT = (
    "id,start,end,label,score,assertion\n"
    "n1,0,9,MEDICATION,0.9987,\n"
    "n1,14,22,DISEASE,1.0000,\n"
    '"a,""b""",6,17,SYMPTOM,0.5000,\n'
    '"a,""b""",21,26,ADE,0.0000,\n'
)
WORDS = ("Metformin", "diabetes", "chest", "fever")


def write(fmt: str, out: Path, *records: Record, with_text: bool = True) -> None:
    """Make an output as ``extract`` does, all at once."""
    form = format_named(fmt, with_text=with_text, day="2026-11-22")
    content = form.header + "".join(map(form.line, records))
    if form.make is None:
        out.write_bytes(content.encode())
    else:
        spool = out.with_name(out.name + ".partial")
        spool.write_bytes(content.encode())
        form.make(spool, out)
        spool.unlink()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fmt", "golden"), [("jsonl", JSONL), ("csv", CSV)])
def test_a_file_is_written_to_the_byte(tmp_path: Path, fmt: str, golden: str) -> None:
    write(fmt, tmp_path / "out", *RECORDS)
    assert files(tmp_path) == {"out": golden.encode()}


def test_jsonl_without_text_has_everything_else(tmp_path: Path) -> None:
    write("jsonl", tmp_path / "out", *RECORDS, with_text=False)
    written = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    expected = [json.loads(line) for line in JSONL.splitlines()]
    for row in expected:
        for entity in row["entities"]:
            del entity["text"]
    assert written == expected


def test_csv_without_text_has_no_column_for_it(tmp_path: Path) -> None:
    write("csv", tmp_path / "out", *RECORDS, with_text=False)
    assert (tmp_path / "out").read_bytes() == CSV_NO_TEXT.encode()


@pytest.mark.parametrize("fmt", ["jsonl", "csv"])
def test_without_text_no_word_of_a_note_is_written(tmp_path: Path, fmt: str) -> None:
    write(fmt, tmp_path / "out", *RECORDS, with_text=False)
    written = (tmp_path / "out").read_text()
    assert not [word for word in WORDS if word in written]


@pytest.mark.parametrize(("fmt", "golden"), [("jsonl", ""), ("csv", CSV.split("\n")[0] + "\n")])
def test_no_records_make_a_file_all_the_same(tmp_path: Path, fmt: str, golden: str) -> None:
    write(fmt, tmp_path / "out")
    assert (tmp_path / "out").read_text() == golden


@pytest.mark.parametrize(
    "text",
    ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", "a;b", " a b ", "a\tb", "a\u2028b\x85c", "a\0b"],
)
@pytest.mark.parametrize("fmt", ["jsonl", "csv"])
def test_words_with_odd_signs_come_back_from_the_file(tmp_path: Path, fmt: str, text: str) -> None:
    """A lone CR too: notes from old systems end their lines with it."""
    write(fmt, tmp_path / "out", record(f"id {text}", text, (0, len(text), "SYMPTOM", 0.5)))
    with (tmp_path / "out").open(encoding="utf-8", newline="") as stream:
        if fmt == "csv":
            (row,) = csv.DictReader(stream, strict=True)
            read = [row["id"], row["start"], row["end"], row["label"], row["text"], row["score"]]
        else:
            (line,) = stream.read().removesuffix("\n").split("\n")
            fields = json.loads(line)
            (entity,) = fields["entities"]
            read = [fields["id"], *map(str, (entity["start"], entity["end"]))]
            read += [entity["label"], entity["text"], f"{entity['score']:.4f}"]
    assert read == [f"id {text}", "0", str(len(text)), "SYMPTOM", text, "0.5000"]


def test_the_demo_reads_back_any_words_that_were_written(tmp_path: Path) -> None:
    """``str.splitlines`` breaks at signs that JSON leaves as they are."""
    text = "chest\u2028pain\x85fever"
    write("jsonl", tmp_path / "out", record("n", text, (0, len(text), "SYMPTOM", 0.5)))
    assert check_offsets(tmp_path / "out", {"n": text}) == 1


# --- brat ----------------------------------------------------------------------------------------


def test_brat_is_written_to_the_byte(tmp_path: Path) -> None:
    write("brat", tmp_path / "out", *RECORDS)
    assert files(tmp_path / "out") == {
        "n1.txt": b"Metformin for diabetes",
        "n1.ann": b"T1\tMEDICATION 0 9\tMetformin\nT2\tDISEASE 14 22\tdiabetes\n",
        "ward/7.txt": b"",
        "ward/7.ann": b"",
        "a%2C%22b%22.txt": 'said "chest\r\npain"\n🙂 fever'.encode(),
        "a%2C%22b%22.ann": b"T1\tSYMPTOM 6 11;13 17\tchest pain\nT2\tADE 21 26\tfever\n",
    }


@pytest.mark.parametrize("fmt", ["brat", "html", "omop"])
def test_formats_that_show_text_cannot_do_without(fmt: str) -> None:
    with pytest.raises(InputError, match=f"--format {fmt} cannot do without text"):
        format_named(fmt, with_text=False)


def test_brat_tells_what_is_asserted_and_breaks_at_every_kind_of_line(tmp_path: Path) -> None:
    """A label with a blank would not be read back."""
    text = "no\u2028fever"
    found = Entity(Span(0, 8), "SIGN OR SYMPTOM", assertion="negated")
    one = Record(Note("n", text), (found,), Coverage(8, 8, 1), BUNDLE)
    write("brat", tmp_path / "out", one)
    written = (tmp_path / "out/n.ann").read_text(encoding="utf-8")
    assert written == "T1\tSIGN_OR_SYMPTOM 0 2;3 8\tno fever\nA1\tAssertion T1 negated\n"
    (read,) = read_labelled(tmp_path / "out")
    assert [(e.span, e.label) for e in read.entities] == [(Span(0, 8), "SIGN_OR_SYMPTOM")]


IDS = (
    *("n1", "N1.2", "a b", "ward/7", "a/b/c", "7/", "/etc/passwd", "//x", "../../up", "a/../b"),
    *(".", "..", "...", ".hidden", "end.", " lead", "trail ", "%", "%25", "a%2Fb", "a//b"),
    *("CON", "con", "nul", "NUL.txt", "COM1", "lpt9.a", "aux/prn", "a:b", "c:\\x", "a*?<>|b"),
    *("é", "e\u0301", "糖尿病", "🙂", "a\nb", "a\tb", "a\0b", "\x7f", "-rf", "~", "$HOME", "a.txt"),
)


def test_unusual_ids_make_names_of_their_own_inside_the_folder(tmp_path: Path) -> None:
    # On a disk where case does not count, "con" and "CON" would still be two.
    write("brat", tmp_path / "out", *(record(note_id, note_id) for note_id in IDS))
    written = files(tmp_path)
    texts_ = [text.decode() for name, text in written.items() if name.endswith(".txt")]
    assert sorted(texts_) == sorted(IDS)
    assert len(written) == 2 * len(IDS)
    assert all(name.startswith("out/") for name in written)
    assert len(read_labelled(tmp_path / "out")) == len(IDS)


RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{p}{n}" for p in ("COM", "LPT") for n in range(1, 10))}
ODD_PART = st.sampled_from([part for note_id in IDS for part in note_id.split("/")])
PARTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=6), ODD_PART
)


@given(PARTS, PARTS)
def test_two_parts_of_ids_never_share_a_name(one: str, other: str) -> None:
    assert (_file_name(one) == _file_name(other)) == (one == other)


@given(PARTS)
def test_a_name_is_one_that_any_system_takes(part: str) -> None:
    name = _file_name(part)
    assert name
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>|')
    assert name.isprintable()
    assert name.strip(". ") == name
    assert f"{name}.txt".split(".")[0].upper().strip() not in RESERVED


def test_ids_that_meet_in_one_file_are_refused_and_overwrite_nothing(tmp_path: Path) -> None:
    """``x.txt/y`` needs a folder where ``x`` has its text: on any system."""
    for first, second in (("x", "x.txt/y"), ("x.txt/y", "x"), ("x", "x.ann/y"), ("x.ann/y", "x")):
        out = tmp_path / f"{first}-{second}".replace("/", "-")
        records = [record(note_id, f"text of {note_id}") for note_id in (first, second)]
        with pytest.raises(InputError) as caught:
            write("brat", out, *records)
        assert "text of" not in str(caught.value)
        assert f"text of {first}".encode() in files(out).values()


def test_an_id_that_comes_twice_overwrites_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two ids give this name"):
        write("brat", tmp_path / "out", record("x", "one"), record("x", "two"))
    assert files(tmp_path / "out") == {"x.ann": b"", "x.txt": b"one"}


@given(st.data())
def test_brat_reads_back_as_the_same_text_and_spans(data: st.DataObject) -> None:
    written = []
    for i, text in enumerate(data.draw(st.lists(texts(12), max_size=3))):
        text = text.lstrip("\ufeff")  # at a file's start it is a byte-order mark, not text
        spans = data.draw(apart(len(text)))
        # What a line break begins or ends cannot be told in brat: fragments hold none.
        kept = [s for s in spans if text[s.start : s.end].strip("\r\n") == text[s.start : s.end]]
        kept = [s for s in kept if text[s.start : s.end].strip()]
        found = [(s.start, s.end, "DISEASE", 1.0) for s in kept]
        written.append(record(f"n{i}", text, *found))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        write("brat", out, *written)
        read = read_labelled(out) if written else []
    assert [item.note for item in read] == [one.note for one in written]
    assert [item.entities for item in read] == [one.entities for one in written]
