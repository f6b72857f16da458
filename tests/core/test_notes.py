"""Reading notes: every kind of input, every refusal, nothing lost and nothing told."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.lines import read_json_lines
from clin_edge.core.notes import (
    Note,
    NoteFormat,
    check_notes,
    read_notes,
)
from clin_edge.core.seen_ids import SeenIds
from reading import BOM, SECRET, line, pairs
from strategies import notes, texts

# --- the note itself -----------------------------------------------------------------------------


def test_a_repr_shows_the_id_and_never_the_text() -> None:
    assert repr(Note("n1", SECRET)) == "Note(id='n1')"
    assert SECRET not in f"{[Note('n1', SECRET)]} {Note('n1', SECRET)!s}"


@pytest.mark.parametrize(
    ("note_id", "text", "message"),
    [
        ("", SECRET, "the id is empty"),
        ("n\ud800", SECRET, "the id has a lone surrogate at character 1"),
        ("n1", f"{SECRET}\udfff", "the text has a lone surrogate at character 7"),
    ],
)
def test_a_note_that_could_not_be_written_out_is_refused(note_id, text, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Note(note_id, text)
    assert SECRET not in str(caught.value)


# --- every kind of input -------------------------------------------------------------------------


def test_a_folder_gives_every_txt_below_it_sorted_by_id(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/b.c.txt", "a.txt", "B.TXT", "skip.md", "a/skip.ann"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"text of {name}".encode())
    (tmp_path / "folder.txt").mkdir()
    assert pairs(tmp_path) == [
        ("B", "text of B.TXT"),
        ("a", "text of a.txt"),
        ("a/b.c", "text of a/b.c.txt"),
        ("a/z", "text of a/z.txt"),
        ("b", "text of b.txt"),
    ]


def test_a_text_file_is_one_note_named_after_it(tmp_path: Path) -> None:
    path = tmp_path / "visit.2.txt"
    path.write_bytes(b"")
    assert pairs(path) == [("visit.2", "")]


def test_blank_lines_in_jsonl_are_skipped_and_other_keys_ignored(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'\n{"x": [1, null], "text": "a", "id": "1"}\r\n  \n{"id":"2","text":""}')
    assert pairs(path) == [("1", "a"), ("2", "")]


def test_gzipped_jsonl_may_hold_several_members(tmp_path: Path) -> None:
    path = tmp_path / "NOTES.JSONL.GZ"
    path.write_bytes(gzip.compress(line("1", "a")) + gzip.compress(line("2", "b")))
    assert pairs(path) == [("1", "a"), ("2", "b")]


def test_csv_keeps_quoted_crlf_quotes_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(b'id,ward,text\r\n1,W,"said ""no"",\r\nleft\n\rat 5"\r\n\r\n2,W,plain\r\n')
    assert pairs(path) == [("1", 'said "no",\r\nleft\n\rat 5'), ("2", "plain")]


def test_tsv_has_tabs_between_fields_and_columns_by_other_names(tmp_path: Path) -> None:
    path = tmp_path / "notes.tsv"
    path.write_bytes(b'report\tkey\n"tab\there"\t1\n5" tube, in place\t2\n')
    fmt = NoteFormat(id_column="key", text_column="report")
    assert pairs(path, fmt=fmt) == [("1", "tab\there"), ("2", '5" tube, in place')]


def test_stdin_is_jsonl_in_utf8_whatever_the_locale(stdin) -> None:
    stdin(line("1", "déjà 🙂") + line("2", "b"))
    assert pairs("-") == [("1", "déjà 🙂"), ("2", "b")]


def test_places_are_read_in_the_order_given(tmp_path: Path, stdin) -> None:
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.jsonl").write_bytes(line("a", "a"))
    stdin(line("in", "i"))
    assert [i for i, _ in pairs(tmp_path / "b.txt", "-", tmp_path / "a.jsonl")] == ["b", "in", "a"]


@given(notes(), st.booleans())
def test_text_comes_back_unchanged_from_every_kind_of_input(written: list[Note], ascii_: bool):
    """CRLF, tabs, marks, emoji and control characters are the note's own."""
    expected = [(note.id, note.text) for note in written]
    lines = "".join(
        json.dumps({"id": i, "text": t}, ensure_ascii=ascii_) + "\n" for i, t in expected
    ).encode()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "folder")
        for note_id, text in expected:
            (folder / "deep").mkdir(parents=True, exist_ok=True)
            # A zero-width no-break space at a file's start is a byte-order mark.
            raw = BOM + text.encode() if text.startswith("\ufeff") else text.encode()
            (folder / "deep" / f"{note_id}.txt").write_bytes(raw)
        Path(made, "n.jsonl").write_bytes(lines)
        Path(made, "n.jsonl.gz").write_bytes(gzip.compress(lines, 1))
        for name, delimiter in (("n.csv", ","), ("n.tsv", "\t")):
            with Path(made, name).open("w", encoding="utf-8", newline="") as stream:
                table = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
                table.writerows([("text", "id"), *((text, note_id) for note_id, text in expected)])
        if not expected:
            return
        for name in ("n.jsonl", "n.jsonl.gz", "n.csv", "n.tsv"):
            assert pairs(Path(made, name)) == expected
        assert pairs(folder) == [(f"deep/{note_id}", text) for note_id, text in sorted(expected)]


@pytest.mark.parametrize("name", ["n.txt", "n.jsonl", "n.csv", "n.tsv"])
def test_a_very_long_note_is_read_whole(tmp_path, name) -> None:
    """Python's own csv reader stops at 131,072 characters unless told otherwise."""
    path, text = tmp_path / name, "no pain. " * 40_000
    table = f"id,text\nn,{text}\n"
    raw = {"n.txt": text.encode(), "n.jsonl": line("n", text), "n.csv": table.encode()}
    path.write_bytes(raw.get(name, table.replace(",", "\t").encode()))
    assert pairs(path) == [("n", text)]


# --- byte-order marks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("one.txt", "é\r\nx".encode()),
        ("one.jsonl", line("one", "é\r\nx")),
        ("one.csv", 'id,text\none,"é\r\nx"\n'.encode()),
        ("one.tsv", 'id\ttext\none\t"é\r\nx"\n'.encode()),
        ("one.jsonl.gz", line("one", "é\r\nx")),
        ("-", line("one", "é\r\nx")),
    ],
)
def test_a_byte_order_mark_is_dropped_and_said_so(tmp_path, caplog, stdin, name, raw) -> None:
    """Offsets count from the first character after it."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(BOM + raw) if name.endswith(".gz") else BOM + raw)
    stdin(BOM + raw)
    assert pairs("-" if name == "-" else path) == [("one", "é\r\nx")]
    (told,) = caplog.records
    assert told.levelname == "WARNING"
    place = "stdin:1" if name == "-" else path if name == "one.txt" else f"{path}:1"
    assert told.getMessage() == f"{place}: dropped the byte-order mark at its start"


def test_without_a_byte_order_mark_nothing_is_said(tmp_path: Path, caplog) -> None:
    (tmp_path / "a.txt").write_bytes(b"a" + BOM)
    assert pairs(tmp_path) == [("a", "a\ufeff")]
    assert not caplog.records


# --- one at a time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("n.jsonl", line("1", "a") + b"not JSON"),
        ("n.csv", b"id,text\n1,a\n2\n"),
        ("n.tsv", b"id\ttext\n1\ta\n\xff\n"),
    ],
)
def test_the_first_note_is_given_before_the_second_is_looked_at(tmp_path, name, raw) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    reading = read_notes([str(path), str(tmp_path / "gone")])
    assert next(reading).id == "1"
    with pytest.raises(InputError):
        next(reading)


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    reading = read_notes([str(tmp_path)])
    assert next(reading).id == "a"
    (tmp_path / "b.txt").write_bytes(b"mended")
    assert next(reading).text == "mended"


def test_lines_are_read_one_by_one() -> None:
    class Counting(io.BytesIO):
        n_lines = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            Counting.n_lines += 1
            return super().readline(size)

    stream = Counting(b"".join(line(str(i), "a") for i in range(1000)))
    reading: Iterator[object] = read_json_lines("many", stream)
    next(reading)
    assert Counting.n_lines == 1


def test_checking_counts_notes_and_leaves_standard_input_unread(tmp_path: Path, stdin) -> None:
    path = tmp_path / "n.jsonl"
    path.write_bytes(line("1", "a") + line("2", "b"))
    stdin(line("3", "c"))
    assert check_notes(["-", str(path)]).count == 2
    assert check_notes(["-"]).count == 0
    assert pairs("-") == [("3", "c")]
    path.write_bytes(line("1", "a") + b"[]")
    with pytest.raises(InputError, match=":2: expected a JSON object"):
        check_notes([str(path)])


# --- ids -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30).map(str) | texts(2)), st.integers(1, 6))
def test_seen_ids_answer_as_a_set_would(ids: list[str], recent: int) -> None:
    """Also across the merges of the recent ids into the sorted ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeenIds, "_RECENT", recent)
        seen, oracle = SeenIds(), set()
        for note_id in ids:
            assert seen.add(note_id) == (note_id not in oracle)
            oracle.add(note_id)


def test_seen_ids_hold_at_the_real_merge_threshold() -> None:
    seen = SeenIds()
    n_ids = SeenIds._RECENT + 3
    assert all(seen.add(f"n{i}") for i in range(n_ids))
    for i in (0, 1, SeenIds._RECENT - 1, SeenIds._RECENT, n_ids - 1):
        assert not seen.add(f"n{i}")
    assert seen.add(f"n{n_ids}")
