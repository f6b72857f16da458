"""Writers: exact formats, the final name only for a whole output, nothing lost or overwritten."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import sys
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
from clin_edge.runtime.writers import FORMATS, open_writer
from clin_edge.runtime.writers.brat import _file_name
from strategies import apart, texts

BUNDLE = "sha256:3f9a0c12d4e5"
FULL = Path("/dev/full")


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
    "id,start,end,label,text,score\n"
    "n1,0,9,MEDICATION,Metformin,0.9987\n"
    "n1,14,22,DISEASE,diabetes,1.0000\n"
    '"a,""b""",6,17,SYMPTOM,"chest\r\npain",0.5000\n'
    '"a,""b""",21,26,ADE,fever,0.0000\n'
)
CSV_NO_TEXT = (
    "id,start,end,label,score\n"
    "n1,0,9,MEDICATION,0.9987\n"
    "n1,14,22,DISEASE,1.0000\n"
    '"a,""b""",6,17,SYMPTOM,0.5000\n'
    '"a,""b""",21,26,ADE,0.0000\n'
)
WORDS = ("Metformin", "diabetes", "chest", "fever")


def write(fmt: str, out: Path | None, *records: Record, with_text: bool = True) -> None:
    with open_writer(fmt, out, with_text=with_text) as writer:
        for one in records:
            writer.write(one)


def write_and_fail(fmt: str, out: Path, *records: Record, failure: BaseException) -> None:
    with open_writer(fmt, out, with_text=True) as writer:
        for one in records:
            writer.write(one)
        raise failure


def partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fmt", "golden"), [("jsonl", JSONL), ("csv", CSV)])
def test_a_file_is_written_to_the_byte(tmp_path: Path, fmt: str, golden: str) -> None:
    write(fmt, tmp_path / "new/folder/out", *RECORDS)
    assert files(tmp_path) == {"new/folder/out": golden.encode()}


@pytest.mark.parametrize(("fmt", "golden"), [("jsonl", JSONL), ("csv", CSV)])
def test_stdout_gets_the_same(capfd: pytest.CaptureFixture[str], monkeypatch, fmt, golden) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    monkeypatch.setattr(sys, "stdout", stream)
    write(fmt, None, *RECORDS)
    assert stream.buffer.getvalue() == golden.encode()
    assert capfd.readouterr() == ("", "")


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
    assert not partial(tmp_path / "out").exists()


@pytest.mark.parametrize(("out", "with_text"), [(None, True), (Path("out"), False)])
def test_brat_needs_a_folder_and_text(out: Path | None, with_text: bool) -> None:
    with pytest.raises(InputError, match="needs -o FOLDER, and text"):
        open_writer("brat", out, with_text=with_text)


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
        assert not out.exists()
        assert f"text of {first}".encode() in files(partial(out)).values()


def test_an_id_that_comes_twice_overwrites_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two ids give this name"):
        write("brat", tmp_path / "out", record("x", "one"), record("x", "two"))
    assert files(tmp_path / "out.partial") == {"x.ann": b"", "x.txt": b"one"}


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


# --- whole or not at all -------------------------------------------------------------------------


@pytest.fixture(params=FORMATS)
def fmt(request: pytest.FixtureRequest) -> str:
    """Each format in turn."""
    return str(request.param)


def contents(place: Path) -> object:
    return files(place) if place.is_dir() else place.read_bytes()


def test_while_it_is_written_it_has_another_name(tmp_path: Path, fmt: str) -> None:
    out = tmp_path / "out"
    with open_writer(fmt, out, with_text=True) as writer:
        writer.write(RECORDS[0])
        assert partial(out).exists()
        assert not out.exists()
    assert out.exists()
    assert not partial(out).exists()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_failure_leaves_what_was_made_aside_and_says_where(tmp_path, fmt, caplog, failure):
    out, whole = tmp_path / "out", tmp_path / "whole"
    write(fmt, whole, *RECORDS[:2])
    with caplog.at_level(logging.WARNING), pytest.raises(failure):
        write_and_fail(fmt, out, *RECORDS[:2], failure=failure("Zebulon"))
    assert not out.exists()
    assert contents(partial(out)) == contents(whole)
    assert caplog.messages == [f"the 2 records made before the failure are in {partial(out)}"]


def test_a_failure_before_the_first_record_says_nothing(tmp_path, fmt, caplog) -> None:
    with pytest.raises(RuntimeError):
        write_and_fail(fmt, tmp_path / "out", failure=RuntimeError())
    assert not (tmp_path / "out").exists()
    assert caplog.messages == []


@pytest.mark.parametrize("lines_fmt", ["jsonl", "csv"])
def test_an_output_that_was_there_is_untouched_by_a_failure(tmp_path: Path, lines_fmt) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"of yesterday")
    with pytest.raises(RuntimeError):
        write_and_fail(lines_fmt, out, RECORDS[0], failure=RuntimeError())
    assert out.read_bytes() == b"of yesterday"
    write(lines_fmt, out, RECORDS[0])
    assert b"Metformin" in out.read_bytes()
    assert not partial(out).exists()


def test_a_brat_folder_that_holds_something_is_refused_and_untouched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write("brat", out, RECORDS[0])
    before = files(out)
    with pytest.raises(InputError, match="out: exists and is not empty; choose another folder"):
        write("brat", out, RECORDS[1])
    assert files(tmp_path) == {f"out/{name}": content for name, content in before.items()}


def test_a_brat_folder_that_is_empty_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write("brat", tmp_path / "out", RECORDS[0])
    assert set(files(tmp_path / "out")) == {"n1.ann", "n1.txt"}


def test_what_an_earlier_failure_left_aside_is_begun_anew(tmp_path: Path, fmt: str) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    with pytest.raises(RuntimeError):
        write_and_fail(fmt, out, RECORDS[2], failure=RuntimeError())
    write(fmt, out, RECORDS[0])
    write(fmt, other, RECORDS[0])
    assert contents(out) == contents(other)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, fmt: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written") as caught:
        write(fmt, tmp_path / "file" / "out", RECORDS[0])
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lines_fmt", ["jsonl", "csv"])
def test_a_folder_in_the_place_of_the_file_is_refused_and_nothing_is_lost(tmp_path, lines_fmt):
    out = tmp_path / "out"
    (out / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match="out: "):
        write(lines_fmt, out, RECORDS[0])
    assert (out / "inside").is_dir()


@pytest.mark.parametrize("out", [Path(), Path("/")])
def test_a_place_that_has_no_name_is_refused(monkeypatch, tmp_path, fmt: str, out: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(InputError):
        write(fmt, out, RECORDS[0])


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("lines_fmt", ["jsonl", "csv"])
@pytest.mark.parametrize("n_records", [1, 2000])
def test_a_full_disk_is_told_and_the_old_output_stays(tmp_path, lines_fmt, n_records) -> None:
    """Whether it is met while records are written or only when the file is closed."""
    out = tmp_path / "out"
    out.write_bytes(b"of yesterday")
    partial(out).symlink_to(FULL)
    with pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\)"):
        write(lines_fmt, out, *RECORDS[:1] * n_records)
    assert out.read_bytes() == b"of yesterday"
    assert FULL.is_char_device()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("n_records", [1, 2000])
def test_a_full_disk_behind_stdout_is_told_too(monkeypatch, n_records: int) -> None:
    stream = FULL.open("w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    try:
        with pytest.raises(InputError, match="No space left on device"):
            write("jsonl", None, *RECORDS[:1] * n_records)
    finally:
        with contextlib.suppress(OSError):
            stream.close()
