"""``clin-edge label`` with term tables, as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clin_edge.core.labelled import read_labelled
from tiny import Done, cli

TERMS = "id\tname\tsynonyms\tlabel\n1\tmetformin\t\tMEDICATION\n2\tdiabetes\tdm\tDISEASE\n"


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    return partial(cli, monkeypatch, capsys)


def test_label_writes_a_file_a_teacher_and_says_what_it_found(run, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TERMS)
    notes = tmp_path / "notes.jsonl"
    notes.write_text(json.dumps({"id": "a", "text": "metformin, metformin for diabetes"}) + "\n")
    done = run("label", notes, "-o", tmp_path / "silver", "--teacher", f"terms:{tmp_path}/t.tsv")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{tmp_path}/silver/terms-t.jsonl: 1 DISEASE, 2 MEDICATION\n"
    (item,) = read_labelled(tmp_path / "silver" / "terms-t.jsonl")
    assert [e.label for e in item.entities] == ["MEDICATION", "MEDICATION", "DISEASE"]


def test_label_keeps_the_labels_asked_for_from_the_columns_named(run, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TERMS)
    (tmp_path / "notes.csv").write_text("no,words\r\n1,metformin for diabetes\r\n")
    done = run(
        *("label", tmp_path / "notes.csv", "--id-column", "no", "--text-column", "words"),
        *("-o", tmp_path, "--teacher", f"terms:{tmp_path}/t.tsv", "--labels", "DISEASE"),
    )
    assert done.code == 0, done.err
    (item,) = read_labelled(tmp_path / "terms-t.jsonl")
    assert (item.note.id, [e.label for e in item.entities]) == ("1", ["DISEASE"])
    assert item.marked == {"DISEASE"}


def test_label_tells_in_one_line_what_is_wrong(run, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TERMS)
    teacher = f"terms:{tmp_path}/t.tsv"
    absent = tmp_path / "absent.jsonl"
    done = run("label", absent, "-o", tmp_path / "o", "--teacher", teacher)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"clin-edge: {absent}")
    assert done.err.count("\n") == 1
    assert run("label", absent, "-o", tmp_path / "o").code == 2
    assert not (tmp_path / "o").exists()
