"""Notes that are refused: where, what, what to do, and never a word of them."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.lines import read_json_lines
from clin_edge.core.notes import (
    NoteFormat,
)
from reading import BOM, SECRET, line, pairs, refusal


def test_a_missing_place_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.jsonl"
    assert refusal(gone) == f"{gone}: no such file or folder"


@pytest.mark.parametrize("name", ["notes.docx", "notes", "notes.json", "notes.gz", "notes.txt.gz"])
def test_a_file_of_no_known_kind_is_refused_and_the_kinds_are_listed(tmp_path, name) -> None:
    path = tmp_path / name
    path.write_text(SECRET)
    message = refusal(path)
    assert message.startswith(f"{path}: not a kind of notes we read; expected a folder")
    assert all(kind in message for kind in (".txt", ".jsonl", ".jsonl.gz", ".csv", ".tsv", "stdin"))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("empty.jsonl", b""),
        ("blank.jsonl", b"\n \n\r\n"),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0)),
        ("empty.csv", b""),
        ("header.csv", b"id,text\n"),
        ("header.tsv", b"id\ttext\r\n\r\n"),
    ],
)
def test_a_file_without_notes_is_refused(tmp_path, name, raw) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    assert refusal(path).startswith(f"{path}: holds no notes")


def test_a_folder_without_notes_is_refused_even_beside_one_that_has_some(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    (full / "a.txt").write_text("a")
    (empty / "below").mkdir(parents=True)
    (empty / "a.md").write_text("a")
    assert refusal(full, empty).startswith(f"{empty}: holds no notes")


def test_empty_standard_input_is_refused(stdin) -> None:
    stdin(b"\n")
    assert "holds no notes" in refusal("-")


@pytest.mark.parametrize(
    ("name", "raw", "where", "byte", "offset"),
    [
        ("a.txt", f"{SECRET} caf".encode() + b"\xe9.", "", 0xE9, 11),
        ("a.txt", f"{SECRET}\n".encode() + b"\xc3", "", 0xC3, 8),
        ("a.txt", BOM + b"ab\xff", "", 0xFF, 5),
        ("a.jsonl", line("1", SECRET) + b'{"id": "2\xff"}', ":2", 0xFF, 9),
        ("a.csv", f"id,text\n1,{SECRET}\n".encode() + b"2,\x80\n", ":3", 0x80, 2),
        ("a.tsv", b"id\ttext\n1\t\xed\xa0\x80", ":2", 0xED, 2),
    ],
)
def test_bytes_that_are_not_utf8_are_placed_to_the_byte(
    tmp_path, name, raw, where, byte, offset
) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    expected = f"{path}{where}: not UTF-8 (byte 0x{byte:02x} at offset {offset}); "
    assert refusal(path) == expected + "convert the file to UTF-8"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b'{"id": "2", "text": "Zebulon}', "not JSON (column 30: Invalid control character at)"),
        (b'{"id": "2", "text": "Zebulon"} {"id": "3"}', "not JSON (column 32: Extra data)"),
        (b'{"id": "2" "text": "Zebulon"}', "not JSON (column 12: Expecting ',' delimiter)"),
        (b"Zebulon", "not JSON (column 1: Expecting value)"),
        (b'["2", "Zebulon"]', "expected a JSON object, found a list"),
        (b'"Zebulon"', "expected a JSON object, found a str"),
        (b"null", "expected a JSON object, found a NoneType"),
        (b'{"text": "Zebulon"}', "'id' must be a string, found nothing"),
        (b'{"id": 2, "text": "Zebulon"}', "'id' must be a string, found a int"),
        (b'{"id": null, "text": "Zebulon"}', "'id' must be a string, found a NoneType"),
        (b'{"id": "2", "body": "Zebulon"}', "'text' must be a string, found nothing"),
        (b'{"id": "2", "text": ["Zebulon"]}', "'text' must be a string, found a list"),
        (b'{"id": "", "text": "Zebulon"}', "the id is empty"),
        (b'{"id": "2", "text": "Zebulon\\ud83d!"}', "the text has a lone surrogate at character 7"),
        (b'{"id": "\\ude42", "text": "Zebulon"}', "the id has a lone surrogate at character 0"),
        (b'{"id": "1", "text": "Zebulon"}', "the id '1' came before; ids must be unique"),
        (b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "JSON nested too deep"),
        (b'{"x": ' + b'{"x":' * 200_000, "JSON nested too deep"),
        (b'{"x": ' + b"9" * 5000 + b"}", "JSON nested too deep or a number too long"),
    ],
)
def test_a_bad_line_of_json_is_refused_with_file_and_line(tmp_path, stdin, second, message) -> None:
    raw = line("1", "fine") + b"\n" + second + b"\n" + line("4", "never read")
    for name in ("notes.jsonl", "notes.jsonl.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        assert refusal(path).startswith(f"{path}:3: {message}")
    stdin(raw)
    assert refusal("-").startswith(f"stdin:3: {message}")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"id,body\n1,Zebulon\n", ":1: needs one column 'text', found 0 among 2 in the header"),
        (
            b"text,text,id\nZebulon,b,1\n",
            ":1: needs one column 'text', found 2 among 3 in the header",
        ),
        (b"ID,text\n1,Zebulon\n", ":1: needs one column 'id', found 0 among 2 in the header"),
        (b"id,text\n1,fine\n2\n", ":3: 1 fields under a header of 2"),
        (b"id,text\n1,fine\n\n2,Zebulon, ouch\n", ":4: 3 fields under a header of 2"),
        (b"id,text\n1,fine\n,Zebulon\n", ":3: the id is empty"),
        (b"id,text\n1,fine\n1,Zebulon\n", ":3: the id '1' came before"),
        (b'id,text\n1,"Zebulon"x\n', ":2: not a well-formed table"),
        (b'id,text\n1,fine\n2,"Zebulon\n', ":3: not a well-formed table"),
        (b"id,text\n1,Zebulon\rx\n", ":2: not a well-formed table"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_line(tmp_path, raw, message) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(raw)
    assert refusal(path).startswith(f"{path}{message}")


@pytest.mark.parametrize("header", [b"1,Zebulon\n", b'1,"Zebulon has\na rash"\n'])
def test_a_table_without_a_header_is_refused_without_telling_its_first_note(
    tmp_path, header
) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(header + b"2,second\n")
    message = refusal(path)
    assert message.startswith(f"{path}:1: needs one column 'id'")
    assert message.endswith("name yours with --id-column and --text-column")


def test_an_id_that_comes_twice_is_refused_across_files(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_bytes(line("a", "x") + line("b", "x"))
    second.write_bytes(line("c", "x") + line("a", SECRET))
    expected = f"{second}:2: the id 'a' came before; ids must be unique within a run"
    assert refusal(first, second) == expected
    assert refusal(first, first).startswith(f"{first}:1: the id 'a' came before")


def test_two_files_of_a_folder_that_would_share_an_id_are_refused_not_dropped(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("lower")
    (tmp_path / "a.TXT").write_text("upper")
    if len(list(tmp_path.iterdir())) == 2:  # where file names differ by case
        assert "'a' came before" in refusal(tmp_path)


@pytest.mark.parametrize("sign", ["a", "é", "糖", "🙂", "a🙂"])
@pytest.mark.parametrize("name", ["n.txt", "n.jsonl", "n.csv"])
def test_a_note_may_be_as_long_as_allowed_and_no_longer(tmp_path, name, sign) -> None:
    """The limit counts characters, not bytes."""
    path = tmp_path / name
    fmt = NoteFormat(max_chars=10)

    def write(text: str) -> None:
        table = f"id,text\nn,{text}\n".encode()
        raw = {"n.txt": text.encode(), "n.jsonl": line("n", text), "n.csv": table}
        path.write_bytes(raw[name])

    write((sign * 10)[:10])
    assert pairs(path, fmt=fmt) == [("n", (sign * 10)[:10])]
    for n_chars in (11, 60):
        write((sign * n_chars)[:n_chars])
        message = refusal(path, fmt=fmt)
        assert re.search("more than the 10 (allowed|characters a note may have); ", message)
        assert message.endswith("split it or raise --max-note-chars")
        assert message.startswith(str(path))


def test_a_line_far_longer_than_any_note_is_refused_before_it_is_held() -> None:
    limit = 12 * 10 + 16_000_000
    stream = io.BytesIO(b'{"id": "1", "text": "' + b" " * (limit + 50))
    with pytest.raises(InputError, match="big:1: the line is far longer than any note may be"):
        list(read_json_lines("big", stream, max_chars=10))
    assert stream.tell() == limit


@pytest.mark.parametrize("keep", [5, 30, -1, -8])
def test_a_truncated_or_damaged_gzip_is_refused(tmp_path, keep) -> None:
    path = tmp_path / "notes.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(line(str(i), SECRET) for i in range(200)))[:keep])
    assert refusal(path).startswith(f"{path}: cannot be read (")


def test_a_gzip_that_is_none_or_has_flipped_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl.gz"
    path.write_bytes(line("1", SECRET))
    assert refusal(path).startswith(f"{path}: cannot be read (Not a gzipped file")
    raw = bytearray(gzip.compress(b"".join(line(str(i), SECRET) for i in range(200))))
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    assert refusal(path).startswith(str(path))
