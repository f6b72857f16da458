"""Notes that cannot be read: each is told, with place, id and reason, and the others are read."""

from __future__ import annotations

import json
from pathlib import Path

from clin_edge.core.lines import NoteError
from clin_edge.core.notes import NoteFormat, check_notes, read_notes


def told(places: list[str], fmt: NoteFormat | None = None) -> tuple[list[str], list[NoteError]]:
    wrong: list[NoteError] = []
    return [note.id for note in read_notes(places, fmt, refused=wrong.append)], wrong


def test_a_bad_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    lines = [
        b'{"id": "a", "text": "x"}',
        b'{"id": "b", "text": "\xff"}',
        b'{"id": "c", "text": "\\ud800"}',
        b"[" * 100_000,
        b'{"id": "d"}',
        b"7",
        b'{"id": "a", "text": "again"}',
        b'{"id": "e", "text": "12345678901"}',
        b'{"id": "f", "text": "x"}',
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    ids, wrong = told([str(path)], NoteFormat(max_chars=10))
    assert ids == ["a", "f"]
    assert [(e.where.rsplit(":")[-1], e.reason, e.note_id) for e in wrong] == [
        ("2", "not-utf8", ""),
        ("3", "not-a-note", ""),
        ("4", "not-json", ""),
        ("5", "not-a-note", "d"),
        ("6", "not-a-note", ""),
        ("7", "duplicate-id", "a"),
        ("8", "too-long", "e"),
    ]


def test_a_line_too_long_to_hold_is_passed_over_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    limit = 12 * 10 + 16_000_000
    long = b'{"id": "1", "text": "' + b" " * (2 * limit) + b'"}\n'
    path.write_bytes(long + b'{"id": "2", "text": "x"}\n')
    ids, wrong = told([str(path)], NoteFormat(max_chars=10))
    assert (ids, [e.reason for e in wrong]) == (["2"], ["too-long"])


def test_a_bad_row_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(b'id,text\n1,a\n2,"b\n\xff\xfe"\n3\n4,"c\r\nd"\n')
    ids, wrong = told([str(path)])
    assert ids == ["1", "4"]
    assert [(e.where.rsplit(":")[-1], e.reason) for e in wrong] == [
        ("4", "not-utf8"),
        ("5", "not-a-note"),
    ]


def test_a_bad_file_of_a_folder_is_told_with_its_id(tmp_path: Path) -> None:
    for name, raw in (("a", b"x"), ("b", b"\xff"), ("c", b"1" * 50), ("d", b"y")):
        (tmp_path / f"{name}.txt").write_bytes(raw)
    ids, wrong = told([str(tmp_path)], NoteFormat(max_chars=10))
    assert ids == ["a", "d"]
    assert [(e.reason, e.note_id) for e in wrong] == [("not-utf8", "b"), ("too-long", "c")]


def test_a_fingerprint_follows_ids_texts_and_order(tmp_path: Path) -> None:
    def seen(*notes: tuple[str, str]) -> str:
        path = tmp_path / "n.jsonl"
        path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in notes))
        return check_notes([str(path)]).fingerprint

    base = seen(("a", "x"), ("b", "y"))
    assert base == seen(("a", "x"), ("b", "y"))
    others = [
        seen(("b", "y"), ("a", "x")),
        seen(("a", "xb"), ("b", "y")),
        seen(("ax", ""), ("b", "y")),
        seen(("a", "x")),
    ]
    assert len({base, *others}) == 5
