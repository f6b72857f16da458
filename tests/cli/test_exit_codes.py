"""The exit codes that scripts rely on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_runs import SECRET, Run, below, only_line
from clin_edge.cli import main
from clin_edge.core.notes import Note
from clin_edge.core.records import Record
from clin_edge.runtime import Pipeline
from toy import toy_bundle


@pytest.mark.parametrize(
    "args",
    [
        ["extract"],
        ["extract", "n", "--format", "xml"],
        ["extract", "n", "--threads", "0"],
        ["extract", "n", "--threads", "99999999999"],
        ["extract", "n", "--batch-tokens", "0"],
        ["extract", "n", "--min-score", "1.5"],
        ["extract", "n", "--min-score", "nan"],
        ["extract", "n", "--max-note-chars", "0"],
        ["extract", "n", "--engine", "torch"],
        ["extract", "n", "--unknown"],
        ["extrakt", "n"],
        ["verify", "a", "b"],
    ],
)
def test_wrong_usage_is_2(run: Run, args: list[str]) -> None:
    done = run(*args)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: clin-edge" in done.err


@pytest.mark.usefixtures("jsonl")
@pytest.mark.parametrize("command", [["extract", "notes.jsonl", "--bundle"], ["verify"]])
def test_a_bundle_that_is_not_there_is_4(run: Run, command: list[str]) -> None:
    done = run(*command, "nowhere")
    assert done.code == 4
    assert only_line(done).startswith("nowhere: no such bundle")


@pytest.mark.usefixtures("jsonl")
@pytest.mark.parametrize("command", [["extract", "notes.jsonl", "--bundle"], ["verify"]])
def test_a_bundle_that_was_altered_is_4_and_nothing_is_written(run, tmp_path, command):
    toy_bundle(tmp_path / "b")
    with (tmp_path / "b/model.bin").open("r+b") as stream:
        stream.write(b"\x01")
    options = ["-o", "out.jsonl"] if command[0] == "extract" else []
    done = run(*command, "b", *options)
    assert done.code == 4
    assert only_line(done).startswith("b/model.bin: altered")
    assert "out.jsonl" not in str(below(tmp_path))


def test_an_engine_the_bundle_has_no_model_for_is_4(run: Run, tmp_path, jsonl) -> None:
    toy_bundle(tmp_path / "b")
    done = run("extract", jsonl, "--bundle", "b", "--engine", "onnxruntime")
    assert done.code == 4
    assert "b: has no model for onnxruntime" in only_line(done)


def test_an_engine_that_is_not_installed_is_5(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "clin_edge.runtime.ort", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = run("extract", jsonl, "--engine", "onnxruntime")
    assert done.code == 5
    assert only_line(done) == (
        "onnxruntime is not installed; run: pip install 'clin-edge[onnxruntime]'"
    )


def test_threads_that_are_none_are_3(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "many")
    done = run("extract", jsonl)
    assert done.code == 3
    assert only_line(done).startswith("CLIN_EDGE_THREADS='many': ")


def fail_after_one(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let reading end in ``error`` after the first note, which is a chunk of its own."""
    records = Pipeline.records

    def failing(self: Pipeline, notes: Iterable[Note], **options: Any) -> Iterator[Record]:
        yield next(records(self, notes, **options))
        raise error

    monkeypatch.setattr("clin_edge.runtime.extract.CHUNK_NOTES", 1)
    monkeypatch.setattr(Pipeline, "records", failing)


def test_an_unexpected_failure_is_1_and_shows_where_but_not_what(run, jsonl, monkeypatch) -> None:
    """The message of a foreign exception may quote a note."""
    fail_after_one(monkeypatch, RuntimeError(f"at {SECRET}"))
    done = run("extract", jsonl, "-o", "out.jsonl")
    assert done.code == 1
    kept, said = done.err.removesuffix("\n").split("\n")
    assert kept == (
        "clin-edge: the one record made before the failure is in out.jsonl.partial; the same "
        "command with --resume goes on"
    )
    assert re.match(
        r"clin-edge: unexpected RuntimeError at test_exit_codes\.py:\d+; this is a", said
    )
    assert SECRET not in done.err
    assert not Path("out.jsonl").exists()
    assert json.loads(Path("out.jsonl.partial").read_text())["id"] == "a"


@pytest.mark.usefixtures("run")
def test_debug_shows_everything_to_who_asks(jsonl: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_DEBUG", "1")
    fail_after_one(monkeypatch, RuntimeError("all of it"))
    with pytest.raises(RuntimeError, match="all of it"):
        main(["extract", str(jsonl)])


def test_an_interrupt_is_130_and_keeps_what_was_made(run: Run, jsonl: Path, monkeypatch) -> None:
    fail_after_one(monkeypatch, KeyboardInterrupt())
    done = run("extract", jsonl, "-o", "out.jsonl")
    assert done.code == 130
    assert done.err.rstrip().endswith("clin-edge: stopped")
    assert Path("out.jsonl.partial").exists()
    assert not Path("out.jsonl").exists()
