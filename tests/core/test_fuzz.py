"""A slice of ``tests/fuzzing.py``: mutated files give an object or a refusal, whatever the reader.

What a longer run has found is tested beside each reader.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fuzzing
from clin_edge.core.errors import BundleError
from fuzzing import Reader, fuzz

READERS = ("crf", "golden", "manifest", "onnx", "signature", "tokenizer")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return fuzzing.readers(tmp_path_factory.mktemp("fuzz"))


def test_every_reader_is_tried(readers: dict[str, Reader]) -> None:
    assert sorted(readers) == list(READERS)


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_changed_are_good_themselves(readers, name: str) -> None:
    for seed in readers[name].seeds:
        readers[name].read(seed)


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused_and_soon(readers, name: str) -> None:
    outcome = fuzz(readers[name], name, range(400), seed=7)
    assert outcome.findings == []
    assert set(outcome.counts) == {"read", "refused"}
    assert sum(outcome.counts.values()) == 400


def test_the_same_number_is_the_same_input(readers: dict[str, Reader]) -> None:
    twice = [
        [readers[name].changed(1, name, number) for name in READERS for number in range(40)]
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    assert len(set(twice[0])) > 200


class Panic(BaseException):
    """As a panic of Rust comes to Python."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Panic(), "Panic"),
        (KeyError("x"), "KeyError"),
        (MemoryError(), "MemoryError"),
        (BundleError("two\nlines"), "a message of more than a short line"),
        (BundleError("x" * 10_000), "a message of more than a short line"),
    ],
)
def test_what_is_no_refusal_is_found(error: BaseException, kind: str) -> None:
    def fails(raw: bytes) -> None:
        if raw.startswith(b"{"):
            raise error

    told: list[int] = []
    outcome = fuzz(Reader(fails, [b"{}"], False), "odd", range(50), seed=1, before=told.append)
    assert outcome.findings
    assert {found["kind"] for found in outcome.findings} == {kind}
    assert told == list(range(50))


def test_a_reader_that_takes_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(fuzzing.time, "process_time", lambda: next(clock))
    outcome = fuzz(Reader(bytes, [b"{}"], False), "slow", range(3), seed=1)
    assert [found["kind"] for found in outcome.findings] == ["slow"] * 3
    assert outcome.longest_s == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="memory is bounded on Unix only")
def test_the_trace_holds_the_number_of_an_input_that_took_the_run_with_it(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fuzzing import Reader, _guard, fuzz
dies = Reader(lambda raw: os.abort() if raw != b"{}" else None, [b"{}"], False)
fuzz(dies, "dies", range(4000, 4100), seed=1, before=_guard(Path(sys.argv[2])))
"""
    trace = tmp_path / "trace"
    tests = str(Path(fuzzing.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, tests, str(trace)], check=False, capture_output=True
    )
    assert done.returncode < 0
    assert 4000 <= int.from_bytes(trace.read_bytes(), "little") < 4100
