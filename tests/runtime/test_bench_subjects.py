"""Subjects: what they say, and every way in which they may fail to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clin_edge.runtime.bench.subjects import Subject, SubjectError, peak_bytes, subject_command

ORDER = {"threads": 1, "text": "patient takes metformin"}
HEAD = "from clin_edge.runtime.bench.subjects import serve\n"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def served(start: str) -> list[str]:
    """A subject whose ``start(order)`` is given as the body of a function."""
    return python(f"{HEAD}def start(order):\n {start}\nserve(start)")


def test_questions_are_answered_in_order_with_time_and_memory() -> None:
    start = "print('a library talks'); return {'n': 7}, lambda asked: {'twice': 2 * asked['x']}"
    with Subject("it", served(start), ORDER) as subject:
        assert subject.ready["n"] == 7
        for x in range(3):
            answer = subject.ask({"x": x})
            assert answer["twice"] == 2 * x
            assert answer["cpu_s"] >= 0
            assert answer["peak_memory_bytes"] > 1e6


def test_a_subject_is_told_how_many_threads_and_that_there_is_no_network() -> None:
    start = "import os; return {n: os.environ[n] for n in "
    start += "('OMP_NUM_THREADS', 'HF_HUB_OFFLINE')}, None"
    with Subject("it", served(start), {"threads": 3}) as subject:
        assert subject.ready["OMP_NUM_THREADS"] == "3"
        assert subject.ready["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("import nowhere.at_all", "it: nowhere is not installed"),
        ("raise ValueError(order['text'])", "it: it stopped (ValueError)"),
        (
            "from clin_edge.core.errors import BundleError; raise BundleError('b: altered')",
            "it: b: altered",
        ),
        ("import os; os._exit(1)", "it: it ended without an answer"),
    ],
)
def test_why_a_subject_does_not_start_is_said_without_a_foreign_word(start, said) -> None:
    with pytest.raises(SubjectError) as error:
        Subject("it", served(start), ORDER)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1 / 0", "it: it stopped (ZeroDivisionError)"),
        ("__import__('os')._exit(3)", "it: it ended without an answer"),
    ],
)
def test_why_a_question_has_no_answer_is_said(answer: str, said: str) -> None:
    with Subject("it", served(f"return {{}}, lambda asked: {answer}"), ORDER) as subject:
        with pytest.raises(SubjectError) as error:
            subject.ask({})
        assert str(error.value) == said


def test_a_subject_that_says_no_json_or_cannot_start_is_told() -> None:
    with pytest.raises(SubjectError, match="without an answer"):
        Subject("it", python("print('hello')"), ORDER)
    with pytest.raises(SubjectError, match="cannot be started"):
        Subject("it", ["/nowhere/python"], ORDER)


def test_a_subject_that_is_silent_is_given_up() -> None:
    with pytest.raises(SubjectError, match=r"no answer within 0\.2 s"):
        Subject("it", python("import sys; sys.stdin.read()"), ORDER, limit_s=0.2)


def test_a_closed_subject_is_gone() -> None:
    subject = Subject("it", served("import os; return {'pid': os.getpid()}, None"), ORDER)
    subject.close()
    with pytest.raises(ProcessLookupError):
        os.kill(subject.ready["pid"], 0)


def test_another_interpreter_is_told_of_this_package_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text("import json, sys, clin_edge; print(json.dumps(sys.argv))")
    python, *command = subject_command("look", "x")
    done = subprocess.run(
        [python, "-S", *command],  # -S: without what is installed
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert json.loads(done.stdout)[1:] == ["x"]
    assert subject_command("look", python=Path("/opt/python"))[0] == str(Path("/opt/python"))


def test_the_peak_of_this_process_is_known() -> None:
    held = [0] * 1_000_000
    assert (peak_bytes() or 0) > 8 * len(held)
