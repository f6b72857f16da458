"""Killed at any moment and run again: only what is missing is asked for; the files are whole."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_runs import LABELS, answers, command, some, write_notes
from llm_server import LlmServer

pytestmark = [
    pytest.mark.usefixtures("llm_env"),
    pytest.mark.skipif(os.name != "posix", reason="these signals are POSIX's"),
]

N_NOTES, N_KILLS, CONCURRENCY = 80, 8, 4
# Every process is forked from one that has all imported already: only its own work takes time.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        *("__main__", "llm_runs", "clin_edge.distill.teachers.llm.openai"),
        *("httpcore2", "openai.resources.chat.completions"),
    ]
)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def args(server: LlmServer, notes: str, out: Path) -> list[str]:
    asked = ["--teacher", "openai:toy", "--labels", ",".join(LABELS), "--base-url"]
    more = ["--concurrency", str(CONCURRENCY)]
    return ["label", notes, "-o", str(out), *asked, server.openai_url, *more]


def start(server: LlmServer, notes: str, out: Path) -> Any:
    child = FORK.Process(target=command, args=(args(server, notes, out),))
    child.start()
    return child


def test_kill_and_resume(tmp_path: Path, record_property) -> None:
    items, out, unbroken = some(N_NOTES), tmp_path / "out", tmp_path / "unbroken"
    notes = write_notes(tmp_path / "notes.jsonl", items)
    rng = random.Random(20)
    asked_in: list[Counter[str]] = []
    with LlmServer(answers(items), delay_s=0.01) as server:
        for _ in range(N_KILLS):
            before = len(server.requests)
            child = start(server, notes, out)
            n_more, jitter_s = rng.randrange(12), rng.uniform(0, 0.05)
            until(lambda n=before + n_more: len(server.requests) >= n)
            time.sleep(jitter_s)
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            until(lambda: not any(work.is_alive() for work in list(server._http.live)))
            asked_in.append(Counter(request.note for request in server.requests[before:]))
            assert not (out / "openai-toy.jsonl").exists()
        before = len(server.requests)
        last = start(server, notes, out)
        last.join()
        assert last.exitcode == 0
        asked_in.append(Counter(request.note for request in server.requests[before:]))
        start(server, notes, unbroken).join()
    # What a killed run asked and a later one asks again was under way when it was killed.
    for number, asked in enumerate(asked_in):
        assert set(asked.values()) <= {1}
        later = set().union(*asked_in[number + 1 :])
        assert len(set(asked) & later) <= CONCURRENCY
    n_asked = sum(asked.total() for asked in asked_in)
    assert set().union(*asked_in) == {item.note.text for item in items}
    assert n_asked <= N_NOTES + N_KILLS * CONCURRENCY
    record_property("notes, kills, requests", (N_NOTES, N_KILLS, n_asked))
    print(f"{N_NOTES} notes, {N_KILLS} kills: {n_asked} requests, by run", end=" ")
    print(*[asked.total() for asked in asked_in])
    name = "openai-toy.jsonl"
    assert (out / name).read_bytes() == (unbroken / name).read_bytes()
    reports = [json.loads((o / "openai-toy.report.json").read_text()) for o in (out, unbroken)]
    for report in reports:
        report.pop("usage_this_run")
    assert reports[0] == reports[1]
    assert not list(out.rglob("*.part"))


def test_an_interrupt_ends_the_run_soon_and_keeps_what_was_answered(tmp_path: Path) -> None:
    items, out = some(N_NOTES), tmp_path / "out"
    notes = write_notes(tmp_path / "notes.jsonl", items)
    with LlmServer(answers(items), delay_s=1.0) as server:  # 20 s: the signal may come late
        child = start(server, notes, out)
        until(lambda: len(server.requests) > 5)
        os.kill(child.pid, signal.SIGINT)
        child.join(30)
        assert child.exitcode == 130
        n_asked = len(server.requests)
        assert n_asked < N_NOTES / 2
        assert not [p for p in out.rglob("*") if p.is_file() and "sqlite" not in p.name]
        server.delay_s = 0.0
        start(server, notes, out).join()
        assert len(server.requests) == N_NOTES
