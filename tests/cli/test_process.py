"""The command as a process of its own: streams, locale, exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_runs import FULL, NOTES, SECRET, as_jsonl


@pytest.fixture
def command(bundle: Path) -> Callable[..., dict]:
    """What ``subprocess`` needs to run ``clin-edge`` with the toy bundle."""
    env = {**os.environ, "CLIN_EDGE_BUNDLE": str(bundle), "CLIN_EDGE_THREADS": "1"}
    env.pop("CLIN_EDGE_DEBUG", None)

    def command(*args: object) -> dict:
        return {"args": [sys.executable, "-m", "clin_edge", *map(str, args)], "env": env}

    return command


def test_a_process_reads_stdin_and_writes_utf8_whatever_the_locale(command, expected) -> None:
    """One that knows ASCII only, as under cron."""
    settings = command("extract", "-")
    settings["env"] |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(**settings, input=as_jsonl(NOTES), capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == expected.encode()
    assert done.stderr.count(b"\n") == 1


def test_a_process_ends_with_the_exit_code(command) -> None:
    settings = command("extract", "-", "--bundle", "nowhere")
    done = subprocess.run(**settings, input=b"", capture_output=True, text=False, check=False)
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"clin-edge: nowhere: no such bundle")


def test_a_reader_that_goes_away_is_not_complained_about(command, tmp_path: Path) -> None:
    many = {f"n{i}": "patient has fever and cough " * 20 for i in range(400)}
    (tmp_path / "n.jsonl").write_bytes(as_jsonl(many))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(**command("extract", tmp_path / "n.jsonl"), **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == "n0"
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
    assert process.returncode not in (0, 120)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line_and_3(command) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            **command("extract", "-"),
            input=as_jsonl(NOTES),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    *_, last = done.stderr.decode().removesuffix("\n").split("\n")
    assert last.startswith("clin-edge: ")
    assert "No space left on device" in last
    assert b"Exception ignored" not in done.stderr
    assert SECRET not in done.stderr.decode()
    assert done.returncode == 3
