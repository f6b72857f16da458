"""The commands run in this process, with a toy bundle."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest

from cli_runs import NOTES, Done, Run, as_folder, as_jsonl
from clin_edge.cli import main
from clin_edge.core.notes import Note
from clin_edge.runtime import Pipeline
from toy import toy_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle for both engines."""
    folder = tmp_path_factory.mktemp("cli") / "bundle"
    return toy_bundle(folder, "openvino", "onnxruntime").path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path: Path, bundle: Path) -> Run:
    """A function that runs ``clin-edge`` in this process, in an empty folder."""
    monkeypatch.setattr(logging.root, "handlers", [])  # main sets up its own
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(bundle))
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.setenv("CLIN_EDGE_WORKERS", "0")  # test_crew.py has workers; here they cost time
    monkeypatch.delenv("CLIN_EDGE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The notes as a folder of text files."""
    return as_folder(tmp_path / "notes")


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    """The notes as one file."""
    (tmp_path / "notes.jsonl").write_bytes(as_jsonl(NOTES))
    return tmp_path / "notes.jsonl"


@pytest.fixture
def expected(bundle: Path) -> str:
    """What must come out for the notes: the library's records."""
    read = Pipeline.from_bundle(bundle, threads=1)
    notes = [Note(note_id, text) for note_id, text in NOTES.items()]
    return "".join(record.to_json() + "\n" for record in read.records(notes, context=True))
