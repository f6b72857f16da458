"""extract: what goes in and comes out."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli_runs import NOTES, SECRET, Run, below
from clin_edge.core.labelled import read_labelled
from clin_edge.runtime import spawning


def test_records_come_out_whatever_way_the_notes_come_in(run, tmp_path, folder, jsonl, expected):
    packed = tmp_path / "notes.jsonl.gz"
    packed.write_bytes(gzip.compress(jsonl.read_bytes()))
    done = [run("extract", folder), run("extract", jsonl), run("extract", packed)]
    done.append(run("extract", "-", "-o", "-", stdin=jsonl.read_bytes()))
    assert [d.code for d in done] == [0] * 4
    assert {d.out for d in done} == {expected}


def test_tables_may_name_their_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text("report\tkey\nno fever\t7\n")
    done = run("extract", "n.tsv", "--id-column", "key", "--text-column", "report")
    assert [r["id"] for r in done.records] == ["7"]
    assert [e["text"] for e in done.records[0]["entities"]] == ["fever"]


def test_a_record_has_what_scripts_rely_on(run: Run, jsonl: Path) -> None:
    first, empty, *_ = run("extract", jsonl).records
    assert list(first) == ["id", "entities", "coverage", "bundle"]
    assert [(e["start"], e["end"], e["label"], e["text"]) for e in first["entities"]] == [
        (14, 23, "MEDICATION", "Metformin"),
        (28, 36, "DISEASE", "diabetes"),
    ]
    assert all(e["score"] == round(e["score"], 4) > 0.9 for e in first["entities"])
    assert re.fullmatch(r"sha256:[0-9a-f]{12}", first["bundle"])
    assert empty["id"] == "b"
    assert empty["entities"] == []
    assert empty["coverage"] == {"chars": 0, "read": 0, "windows": 0}


def test_words_and_progress_go_to_stderr_and_records_to_stdout(run, jsonl, expected, monkeypatch):
    monkeypatch.setattr("clin_edge.runtime.extract.CHUNK_NOTES", 2)
    ticks = itertools.count(0, 2)
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr("clin_edge.runtime.progress.time", clock)
    done = run("extract", jsonl, "--progress")
    assert done.out == expected
    assert "2 of 4 notes, " in done.err
    assert " s left" in done.err
    assert re.search(r"4 notes, \d+ words, \d+ entities in [\d.]+ s .*every character", done.err)
    assert SECRET not in done.err


def test_without_progress_only_the_summary_is_said(run: Run, jsonl: Path) -> None:
    for options in ([], ["--no-progress"]):
        done = run("extract", jsonl, *options)
        assert re.fullmatch(r"4 notes, [^\n]+; every character was read\n", done.err)


def test_of_stdin_no_total_is_promised(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.setattr("clin_edge.runtime.extract.CHUNK_NOTES", 2)
    clock = SimpleNamespace(monotonic=itertools.count(0, 2).__next__)
    monkeypatch.setattr("clin_edge.runtime.progress.time", clock)
    done = run("extract", "-", "--progress", stdin=jsonl.read_bytes())
    assert "2 notes, " in done.err
    assert " of " not in done.err


def test_o_writes_a_file_and_nothing_to_stdout(run, tmp_path, jsonl, expected) -> None:
    done = run("extract", jsonl, "-o", tmp_path / "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "out.jsonl").read_bytes() == expected.encode()
    assert below(tmp_path) == {"notes.jsonl", "out.jsonl"}


def test_the_same_answer_whatever_the_engine_threads_and_batches(run, jsonl, expected) -> None:
    for options in (
        ["--engine", "onnxruntime"],
        ["--engine", "openvino", "--threads", "2"],
        ["--batch-tokens", "1"],
    ):
        assert run("extract", jsonl, *options).out == expected


def test_no_text_leaves_the_words_out(run: Run, jsonl: Path) -> None:
    done = run("extract", jsonl, "--no-text")
    assert [set(e) for r in done.records for e in r["entities"]]
    assert not any("text" in e for r in done.records for e in r["entities"])
    assert "Metformin" not in done.out


def test_min_score_leaves_out_what_is_less_sure(run: Run, jsonl: Path) -> None:
    everything = [e for r in run("extract", jsonl).records for e in r["entities"]]
    kept = [e for r in run("extract", jsonl, "--min-score", "0.5").records for e in r["entities"]]
    assert 0 < len(kept) < len(everything)
    assert kept == [e for e in everything if e["score"] >= 0.5]


def test_csv_and_brat_are_written(run: Run, tmp_path: Path, folder: Path) -> None:
    csv = run("extract", folder, "--format", "csv")
    assert csv.out.startswith(
        "id,start,end,label,text,score,assertion\na,14,23,MEDICATION,Metformin,0."
    )
    done = run("extract", folder, "--format", "brat", "-o", "out")
    assert (done.code, done.out) == (0, "")
    read = read_labelled(tmp_path / "out")
    assert {item.note.id: item.note.text for item in read} == NOTES
    found = [[(e.span.start, e.span.end, e.label) for e in item.entities] for item in read]
    rows = [r["entities"] for r in run("extract", folder).records]
    assert found == [[(e["start"], e["end"], e["label"]) for e in row] for row in rows]


def test_a_monitor_reads_json_also_of_what_fails(run: Run, jsonl: Path) -> None:
    done = run("extract", jsonl, "-o", "out", "--log-json")
    assert [json.loads(line)["event"] for line in done.err.splitlines()] == ["done"]
    done = run("extract", "none.jsonl", "-o", "out", "--log-json")
    assert done.code == 3
    assert json.loads(done.err)["exit_code"] == 3


def test_notes_set_aside_are_exit_code_8(run: Run, jsonl: Path) -> None:
    with jsonl.open("ab") as stream:
        stream.write(b'{"id": "bad", "text": "Zebulon \xff"}\n')
    done = run("extract", jsonl, "-o", "out.jsonl", "--quarantine", "aside.jsonl")
    assert done.code == 8
    assert "1 note was set aside; see aside.jsonl" in done.err
    assert json.loads(Path("aside.jsonl").read_text()) == {
        "id": None,
        "where": f"{jsonl}:5",
        "reason": "not-utf8",
    }
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == len(NOTES)


def test_workers_write_what_one_process_writes(run: Run, jsonl: Path, expected: str) -> None:
    done = run("extract", jsonl, "--workers", "2")
    assert (done.code, done.out) == (0, expected)


@pytest.mark.parametrize("args", [["absent.jsonl"], ["notes.jsonl", "--format", "parquet"]])
@pytest.mark.usefixtures("jsonl")
def test_a_refused_run_leaves_no_worker_behind(args: list[str], run: Run, monkeypatch) -> None:
    started, start = [], spawning.spawn

    def spawn() -> subprocess.Popen[bytes]:
        started.append(start())
        return started[0]

    monkeypatch.setattr(spawning, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(spawning, "spawn", spawn)
    assert run("extract", *args, "--workers", "1").code == 3
    assert [process.poll() is None for process in started] == [False]


def test_without_context_nothing_is_claimed(run: Run, jsonl: Path) -> None:
    entities = [e for r in run("extract", jsonl, "--no-context").records for e in r["entities"]]
    assert entities
    assert not any("assertion" in entity for entity in entities)
