"""Labelled notes and predictions that are refused, with file, line and id."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import (
    read_predictions,
)
from clin_edge.core.spans import Entity, Span
from labelled_files import SECRET, brat, jsonl, refusal, row

TEXT = f"{SECRET} has pain"  # 16 characters


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("n2", TEXT, (0, 17, "A")), "entity 1: ends at 17, after the text's 16 characters"),
        (row("n2", TEXT, (0, 3, "A"), (3, 3, "A")), "entity 2: span needs 0 <= start < end"),
        (row("n2", TEXT, (5, 2, "A")), "entity 1: span needs 0 <= start < end, got [5, 2)"),
        (row("n2", TEXT, (-1, 2, "A")), "entity 1: span needs 0 <= start < end, got [-1, 2)"),
        (row("n2", TEXT, (7, 8, "A")), "entity 1: [7, 8) covers blanks only"),
        (row("n2", "a\r\n\u3000b", (1, 4, "A")), "entity 1: [1, 4) covers blanks only"),
        (row("n2", TEXT, (0, 3, "")), "entity 1: an entity needs a label"),
        (row("n2", TEXT, (0, 3, "A|")), "entity 1: an entity needs a label"),
        (row("n2", TEXT, (0.0, 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (False, 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (0, True, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, ("0", 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (0, 3, 5)), "entity 1: expected an object with start, end and label"),
        (row("n2", TEXT) | {"entities": [[0, 3, SECRET]]}, "entity 1: expected an object"),
        (row("n2", TEXT) | {"entities": {SECRET: 1}}, "'entities' must be a list"),
        (row("n2", TEXT) | {"entities": None}, "'entities' must be a list"),
        (row("n2", TEXT, marked="A"), "'marked' must be a list of labels"),
        (row("n2", TEXT, marked=["A", 1]), "'marked' must be a list of labels"),
        (row("n1", TEXT), "the id came before"),
        (row("n2", TEXT + "\ud800"), "the text has a lone surrogate at character 16"),
    ],
)
def test_a_bad_labelled_note_is_refused_with_file_line_and_id(tmp_path, bad, message) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("n1", "fine", (0, 4, "A")), bad, row("n3", "fine"))
    assert refusal(path).startswith(f"{path}:2 (id {bad['id']!r}): {message}")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (1.5, "a score lies in [0, 1], got 1.5"),
        (-1, "a score lies in [0, 1], got -1"),
        (float("nan"), "a score lies in [0, 1], got nan"),
        pytest.param(10**400, "score", id="huge"),
        ("0.5", "'score' must be a number"),
        (True, "'score' must be a number"),
        (None, "'score' must be a number"),
    ],
)
def test_a_bad_score_is_refused_with_file_line_and_id(tmp_path, score, message) -> None:
    scored = {"start": 0, "end": 3, "label": "A", "score": score}
    path = jsonl(tmp_path / "a.jsonl", row("n1", TEXT) | {"entities": [scored]})
    start = f"{path}:1 (id 'n1'): entity 1: "
    assert refusal(path).startswith(start)
    assert message.lower() in refusal(path).lower()
    with pytest.raises(InputError, match=re.escape(start)):
        read_predictions(path)


@pytest.mark.parametrize(
    "bad", [{"text": TEXT}, {"id": 7, "text": TEXT}, {"id": "n2"}, {"id": "n2", "text": [TEXT]}]
)
def test_a_labelled_note_without_id_or_text_is_refused_with_file_and_line(tmp_path, bad) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("n1", "fine"), bad)
    assert refusal(path) == f"{path}:2: a labelled note needs strings 'id' and 'text'"


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("", TEXT))
    assert refusal(path) == f"{path}:1 (id ''): the id is empty"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T2\tA 0 17\tx", "ends at 17, after the text's 16 characters"),
        ("T2\tA 0 3;9 17\tx", "ends at 17, after the text's 16 characters"),
        ("T2\tA 3 3\t", "span needs 0 <= start < end, got [3, 3)"),
        ("T2\tA 7 8\t ", "[7, 8) covers blanks only"),
        ("T2\tA 0\tZebulon", "not a brat entity line"),
        ("T2\tA 0 3 9 12\tZebulon", "not a brat entity line"),
        ("T2\tA 0 3;\tZebulon", "not a brat entity line"),
        ("T2\tA -1 3\tZebulon", "not a brat entity line"),
        ("T2 A 0 3 Zebulon", "not a brat entity line"),
        ("T2\t0 3\tZebulon", "not a brat entity line"),
        ("Tx\tA 0 3\tZebulon", "not a brat entity line"),
        ("T2\tA| 0 3\tZebulon", "an entity needs a label"),
    ],
)
def test_a_bad_brat_line_is_refused_with_file_line_and_id(tmp_path, line, message) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, f"T1\tA 0 3\tx\r\n#1\tnote\r\n{line}\r\n"))
    assert refusal(folder).startswith(f"{folder / 'n1.ann'}:3 (id 'n1'): {message}")


def test_a_brat_note_without_its_ann_is_refused(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, ""), n2=(TEXT, ""))
    (folder / "n2.ann").unlink()
    assert refusal(folder).startswith(f"{folder / 'n2.ann'}: missing; every .txt")


def test_an_ann_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, ""))
    (folder / "n1.ann").write_bytes(b"T1\tA 0 3\tZeb\xff")
    assert refusal(folder) == f"{folder / 'n1.ann'}: not UTF-8 at byte 12"


def test_places_that_hold_no_labelled_notes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text(SECRET)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "folder").mkdir()
    for name, message in [
        ("notes.csv", "labelled notes are a .jsonl file or a folder of .txt and .ann"),
        ("empty.jsonl", "holds no labelled notes"),
        ("folder", "holds no notes"),
        ("gone.jsonl", "cannot be read (No such file or directory)"),
    ]:
        assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: {message}")


def test_json_that_is_none_is_refused_as_for_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1", "text": ""}\n{"id": "2", "text": "Zebulon}\n')
    assert refusal(path).startswith(f"{path}:2: not JSON")
    with pytest.raises(InputError, match=":2: not JSON"):
        read_predictions(path)


# --- predictions ---------------------------------------------------------------------------------


def test_predictions_are_read_from_records_without_their_text(tmp_path: Path) -> None:
    record = {
        "id": "n1",
        "entities": [{"start": 3, "end": 9, "label": "A", "text": "pain", "score": 0.5}],
        "coverage": {"chars": 9, "read": 9, "windows": 1},
        "bundle": "sha256:0",
    }
    path = jsonl(tmp_path / "r.jsonl", record, {"id": "n2"})
    assert read_predictions(path) == {"n1": [Entity(Span(3, 9), "A", 0.5)], "n2": []}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"id": "n1"}, ":2: 'id' must be a string that did not come before"),
        ({"id": 3}, ":2: 'id' must be a string that did not come before"),
        ({}, ":2: 'id' must be a string that did not come before"),
        (row("n2", "", (4, 3, "A")), ":2 (id 'n2'): entity 1: span needs"),
        (row("n2", "", (3, 4, "")), ":2 (id 'n2'): entity 1: an entity needs a label"),
    ],
)
def test_bad_predictions_are_refused_with_file_and_line(tmp_path, bad, message) -> None:
    path = jsonl(tmp_path / "r.jsonl", {"id": "n1"}, bad)
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read_predictions(path)


def test_predictions_that_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: cannot be read"):
        read_predictions(tmp_path / "gone")
