"""Progress: a line for people, JSON lines for monitors, silence where nobody watches."""

from __future__ import annotations

import json
import logging

import pytest

from clin_edge.runtime import progress
from clin_edge.runtime.extract import Tally
from clin_edge.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_count_this_run_alone(clock, capsys) -> None:
    shown = Progress(live=True, as_json=False)
    tally = Tally(total=1_000, notes=700, words=70_000, before=500, words_before=50_000)
    clock[0] += 20
    shown.tell(tally)
    said = capsys.readouterr().err
    assert said.strip() == "700 of 1,000 notes, 10.0 notes/s, 1,000 words/s, 30 s left"


def test_once_a_second_is_enough(clock, capsys) -> None:
    shown = Progress(live=True, as_json=False)
    for _ in range(50):
        clock[0] += 0.1
        shown.tell(Tally(total=9, notes=3))
    assert capsys.readouterr().err.count("of 9 notes") in (4, 5)


def test_where_nobody_watches_nothing_is_said_until_the_end(clock, capsys) -> None:
    shown = Progress(live=None, as_json=False)
    clock[0] += 60
    shown.tell(Tally(notes=3))
    assert capsys.readouterr().err == ""
    shown.end(Tally(notes=4, words=120, entities=7, aside=2, before=1))
    assert capsys.readouterr().err == (
        "4 notes (1 of them by an earlier run), 120 words, 7 entities in 60.0 s (2 words/s); "
        "every character was read; 2 set aside\n"
    )


def test_a_monitor_gets_json_and_nothing_else(clock, capsys, monkeypatch) -> None:
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.root, "handlers", [handler])  # not pytest's own
    shown = Progress(live=None, as_json=True)
    clock[0] += 2
    shown.tell(Tally(total=10, notes=5, words=100, entities=3))
    handler.handle(logging.LogRecord("n", 30, "p", 1, '%s: a "warning"', ("x",), None))
    shown.end(Tally(total=10, notes=10, words=200, entities=6))
    shown.fail("out: cannot be written", 3)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["progress", "warning", "done", "error"]
    assert events[0]["of"] == 10
    assert events[0]["left_s"] == 2
    assert events[1]["message"] == 'x: a "warning"'
    assert events[2]["every_character_read"] is True
    assert events[3]["exit_code"] == 3
