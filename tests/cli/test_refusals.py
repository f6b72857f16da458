"""extract: what it refuses, before any work and in one line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from cli_runs import NOTES, SECRET, Run, as_folder, as_jsonl, below, only_line
from clin_edge.runtime import Pipeline


@pytest.mark.parametrize("out", ["notes.jsonl", "./notes.jsonl", "link.jsonl", "x/../notes.jsonl"])
def test_an_output_that_is_an_input_is_refused(run: Run, tmp_path, jsonl, out: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link.jsonl").symlink_to("notes.jsonl")
    before = jsonl.read_bytes()
    done = run("extract", tmp_path / "notes.jsonl", "-o", out)
    assert done.code == 3
    assert "would be overwritten by the output; choose another -o" in only_line(done)
    assert jsonl.read_bytes() == before


def test_what_is_left_of_an_earlier_run_may_be_an_input(run: Run, tmp_path: Path) -> None:
    """``OUT.partial`` is begun anew: not if the notes to read are in it."""
    rescued = as_folder(tmp_path / "out.partial")
    before = below(rescued)
    done = run("extract", "out.partial", "--format", "brat", "-o", "out")
    assert before <= (below(rescued) if rescued.exists() else set())
    assert done.code == 3


LONG = json.dumps({"id": "n", "text": SECRET * 20}).encode()
GOOD = as_jsonl({"n1": SECRET})
BAD_INPUTS = {
    "not JSON": ("n.jsonl", GOOD + b'{"id": "Zebulon\n', r"n\.jsonl:2: not JSON"),
    "no object": ("n.jsonl", b'\n\n["Zebulon"]\n', r"n\.jsonl:3: expected a JSON object"),
    "no text": ("n.jsonl", b'{"id": "n", "txt": "Zebulon"}', r"n\.jsonl:1: 'text' must be"),
    "number as id": ("n.jsonl", b'{"id": 1, "text": "Zebulon"}', r"n\.jsonl:1: 'id' must be"),
    "same id": ("n.jsonl", GOOD * 2, r"n\.jsonl:2: the id 'n1' came before"),
    "surrogate": ("n.jsonl", b'{"id":"n","text":"Zebulon \\ud800"}', r"n\.jsonl:1: the text has a"),
    "latin-1": ("n.txt", b"Zebulon \xe9t\xe9", r"n\.txt: not UTF-8 \(byte 0xe9 at offset 8\)"),
    "latin-1 line": ("n.jsonl", GOOD + b'{"id": "\xe9 Zebulon"}', r"n\.jsonl:2: not UTF-8"),
    "cut gzip": ("n.jsonl.gz", gzip.compress(GOOD)[:-9], r"n\.jsonl\.gz: cannot be read"),
    "no gzip": ("n.jsonl.gz", GOOD, r"n\.jsonl\.gz: cannot be read"),
    "no column": ("n.csv", b"id,note\n1,Zebulon\n", r"n\.csv:1: needs one column 'text'"),
    "no header": ("n.csv", b'7,"Zebulon has\npain"\n', r"n\.csv:1: needs one column 'id'"),
    "short row": ("n.csv", b"id,text\n1,a\nZebulon\n", r"n\.csv:3: 1 fields under a header of 2"),
    "open quote": ("n.csv", b'id,text\n1,"Zebulon\n', r"n\.csv:2: not a well-formed table"),
    "unknown kind": ("n.docx", b"Zebulon", r"n\.docx: not a kind of notes we read"),
    "nothing": ("n.jsonl", b"\n", r"n\.jsonl: holds no notes"),
    "too long": ("n.jsonl", GOOD + LONG, r"n\.jsonl:2: the note has 140 characters, more than"),
    "too long a file": ("n.txt", b"Zebulon" * 80, r"n\.txt: 560 bytes are more than the 100 char"),
}


@pytest.mark.parametrize(("name", "raw", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_input_is_known_before_any_work(run, tmp_path, monkeypatch, name, raw, message) -> None:
    """Exit 3 and one line with file and line, though a thousand good notes come before it."""
    monkeypatch.setattr(Pipeline, "from_bundle", lambda *_, **__: pytest.fail("work was begun"))
    (tmp_path / "good.jsonl").write_bytes(as_jsonl({f"g{i}": "fever" for i in range(1000)}))
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "out.jsonl").write_bytes(b"of yesterday")
    there = below(tmp_path)
    done = run("extract", "good.jsonl", name, "-o", "out.jsonl", "--max-note-chars", 100)
    assert done.code == 3
    assert re.match(message, only_line(done))
    assert below(tmp_path) == there
    assert (tmp_path / "out.jsonl").read_bytes() == b"of yesterday"


@pytest.mark.parametrize("place", ["none", "none.jsonl", "empty"])
def test_a_place_without_notes_is_named(run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run("extract", place)
    assert done.code == 3
    assert only_line(done).startswith(f"{place}: ")


def test_a_bad_line_on_stdin_comes_after_the_records_before_it(run: Run) -> None:
    done = run("extract", "-", "-o", "out.jsonl", stdin=GOOD + b"Zebulon\n")
    assert done.code == 3
    aside, error = done.err.splitlines()
    assert aside.endswith("the one record made before the failure is in out.jsonl.partial")
    assert error.startswith("clin-edge: stdin:2: not JSON")
    assert len(Path("out.jsonl.partial").read_text(encoding="utf-8").splitlines()) == 1
    assert not Path("out.jsonl").exists()


def test_a_note_as_long_as_allowed_is_read(run: Run, jsonl: Path) -> None:
    longest = max(map(len, NOTES.values()))
    assert run("extract", jsonl, "--max-note-chars", longest).code == 0
    done = run("extract", jsonl, "--max-note-chars", longest - 1)
    assert done.code == 3
    assert f":3: the note has {longest} characters, more than" in only_line(done)


def test_brat_on_stdout_is_refused(run: Run, jsonl: Path) -> None:
    done = run("extract", jsonl, "--format", "brat")
    assert done.code == 3
    assert "--format brat needs -o" in only_line(done)


def test_a_byte_order_mark_is_dropped_and_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"\xef\xbb\xbffever Zebulon")
    done = run("extract", "n.txt")
    assert done.records[0]["entities"][0]["start"] == 0
    assert "clin-edge: n.txt: dropped the byte-order mark at its start\n" in done.err
    assert SECRET not in done.err
