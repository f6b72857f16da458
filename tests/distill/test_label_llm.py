"""Runs with language models: nothing paid for twice, notes in order, a failure ends them soon."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError, TeacherError
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.notes import NoteFormat
from clin_edge.distill.labelling.label import label_notes
from clin_edge.distill.teachers.llm.sender import Patience
from clin_edge.distill.teachers.llm.teacher import LlmSettings
from llm_protocols import Request
from llm_runs import (
    NAMES,
    SPECS,
    answers,
    marked,
    places,
    quick,
    rows,
    run,
    some,
    truth,
    write_labelled,
    write_notes,
)
from llm_server import LlmServer

pytestmark = pytest.mark.usefixtures("llm_env")

TABLE = "id\tname\tsynonyms\tlabel\n1\tzinc\t\tMEDICATION\n"


def report(out: Path, name: str = "openai-toy") -> dict:
    return json.loads((out / f"{name}.report.json").read_text(encoding="utf-8"))


def test_the_same_run_again_asks_nothing_and_writes_the_same(tmp_path: Path) -> None:
    items, first, second = some(8), tmp_path / "a", tmp_path / "b"
    with LlmServer(answers(items)) as server:
        server.misbehave("truncated", None, "empty")
        run(items, SPECS.values(), first, quick(server, tmp_path / "r"), concurrency=1)
        asked = len(server.requests)
        # Nor does another address of the same model ask anew.
        with LlmServer(answers(items)) as other:
            run(items, SPECS.values(), second, quick(other, tmp_path / "r"), concurrency=7)
            assert not other.requests
    assert asked == 2 * 8 + 2
    for name in (f"{name}.jsonl" for name in NAMES.values()):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    told = report(second)
    assert told["usage_this_run"]["replies"] == 0
    assert told["usage"] == report(first)["usage"]
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700


def test_two_notes_of_one_text_are_asked_about_once(tmp_path: Path) -> None:
    text = "Took [aspirin|MEDICATION]."
    items = [marked(f"n{i}", text) for i in range(9)]
    with LlmServer(answers(items), delay_s=0.02) as server:
        run(items, [SPECS["openai"]], tmp_path / "out", quick(server, tmp_path / "r"), 8)
        assert len(server.requests) == 1
    labelled = rows(tmp_path / "out" / "openai-toy.jsonl")
    assert [places(row) for row in labelled] == [truth(item) for item in items]


def test_what_was_set_aside_is_asked_again_when_told_to(tmp_path: Path) -> None:
    items, out = some(3), tmp_path / "out"
    bad = items[1].note.text
    with LlmServer(answers(items)) as server:
        server.misbehave(lambda request: "prose" if request.note == bad else None)
        run(items, [SPECS["openai"]], out, quick(server, tmp_path / "r"))
        assert rows(out / "quarantine" / "openai-toy.jsonl") == [{"id": "n1", "reason": "no JSON"}]
        server.misbehave(lambda _: None)
        before = len(server.requests)
        run(items, [SPECS["openai"]], out, quick(server, tmp_path / "r"))
        assert len(server.requests) == before
        again = LlmSettings(tries=2, ask_again=True)
        run(items, [SPECS["openai"]], out, quick(server, tmp_path / "r", settings=again))
        assert len(server.requests) == before + 1
    assert [row["id"] for row in rows(out / "openai-toy.jsonl")] == ["n0", "n1", "n2"]
    assert not (out / "quarantine" / "openai-toy.jsonl").exists()


def slowly(items: list[Labelled]) -> LlmServer:
    """A server that answers the first notes last."""
    table = answers(items)
    first = items[0].note.text

    def answer(message: str) -> str:
        time.sleep(0.1 if first in message else 0.0)
        return table(message)

    return LlmServer(answer)


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_the_order_is_that_of_the_notes(tmp_path: Path, concurrency: int) -> None:
    items = some(40)
    with slowly(items) as server:
        asking = quick(server, tmp_path / "r")
        run(items, [SPECS["openai"]], tmp_path / "out", asking, concurrency)
        assert server.busiest <= concurrency
        assert (server.busiest == 1) is (concurrency == 1)
    found = read_labelled(tmp_path / "out" / "openai-toy.jsonl")
    assert [item.note.id for item in found] == [item.note.id for item in items]
    assert [truth(item) for item in found] == [truth(item) for item in items]


def test_all_kinds_of_teachers_in_one_run(tmp_path: Path) -> None:
    items, out = some(5), tmp_path / "out"
    (tmp_path / "mine.tsv").write_text(TABLE)
    (tmp_path / "RXNCONSO.RRF").write_text("1|ENG||||||1|1|1||RXNORM|IN|1|aspirin||N||\n")
    gold = write_labelled(tmp_path / "g.jsonl", items[1:])
    local = [f"terms:{tmp_path / 'mine.tsv'}", f"rxnorm:{tmp_path}", "sig", f"gold:{gold}"]
    with LlmServer(answers(items)) as server:
        tallies = run(items, [*SPECS.values(), *local], out, quick(server, tmp_path / "r"))
    names = [*NAMES.values(), "terms-mine", "rxnorm", "sig", "gold-g"]
    assert list(tallies) == names
    for name in names:
        ids = [row["id"] for row in rows(out / f"{name}.jsonl")]
        assert ids == [item.note.id for item in items[name == "gold-g" :]]
        assert (out / f"{name}.report.json").exists() == (name in names[:2])
    assert rows(out / "quarantine" / "gold-g.jsonl") == [
        {"id": "n0", "reason": "not among the gold notes"}
    ]
    assert [p.name for p in (out / "quarantine").iterdir()] == ["gold-g.jsonl"]


def test_what_an_earlier_run_left_goes(tmp_path: Path) -> None:
    items, out = some(2), tmp_path / "out"
    (out / "quarantine").mkdir(parents=True)
    (tmp_path / "toy.tsv").write_text(TABLE)
    old = [out / "quarantine" / "terms-toy.jsonl", out / "terms-toy.report.json"]
    for path in old:
        path.write_text("old")
    other = out / "quarantine" / "other.jsonl"
    other.write_text("of another teacher")
    run(items, [f"terms:{tmp_path / 'toy.tsv'}"], out, quick("", tmp_path / "r"))
    assert not any(path.exists() for path in old)
    assert other.exists()


def test_a_teacher_without_any_answer_leaves_nothing(tmp_path: Path) -> None:
    items, out = some(3), tmp_path / "out"
    (tmp_path / "toy.tsv").write_text(TABLE)
    with LlmServer(answers(items)) as server:
        server.misbehave(lambda _: "prose")
        with pytest.raises(TeacherError, match=r"openai-toy: no usable answer .* mostly: no JSON"):
            run(
                items,
                [f"terms:{tmp_path / 'toy.tsv'}", SPECS["openai"]],
                out,
                quick(server, out / "r"),
            )
    assert [p.name for p in out.rglob("*") if p.is_file() and p.parent.name != "r"] == []


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_failure_ends_those_that_wait(tmp_path: Path, where: str) -> None:
    items, out = some(12), tmp_path / "out"
    fatal = items[0 if where == "first" else 3].note.text

    def choose(request: Request) -> str:
        return "unauthorized" if request.note == fatal else "unavailable_second"

    begin = time.monotonic()
    with LlmServer(answers(items)) as server:
        server.misbehave(choose)
        asking = quick(server, tmp_path / "r", patience=Patience(9, 30.0))
        with pytest.raises(TeacherError, match="does not take the API key"):
            run(items, [SPECS["openai"]], out, asking, concurrency=4)
        assert len(server.requests) <= 8  # of 12 notes, ten times each
    assert time.monotonic() - begin < 4
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_an_interrupt_ends_those_that_wait(tmp_path: Path) -> None:
    items, out = some(30), tmp_path / "out"
    slow = {item.note.text for item in items[1:]}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with LlmServer(answers(items)) as server:
        server.misbehave(lambda r: "unavailable" if r.note in slow else None)
        asking = quick(server, tmp_path / "r", patience=Patience(9, 30.0))
        with pytest.raises(KeyboardInterrupt) as caught:
            label_notes(
                [write_notes(tmp_path / "n.jsonl", items)],
                NoteFormat(),
                [SPECS["openai"]],
                out,
                None,
                asking=asking,
                concurrency=4,
                progress=interrupt,
            )
        asked = len(server.requests)
        assert asked <= 5
    assert time.monotonic() - begin < 4
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert caught.traceback  # while it lives, nothing is tidied up by itself
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPool")]


def test_a_store_that_fails_ends_the_spending(tmp_path: Path, monkeypatch) -> None:
    items = some(40)

    def full(*_: object) -> None:
        raise InputError("replies.sqlite: cannot be written")

    monkeypatch.setattr("clin_edge.distill.teachers.llm.replies.ReplyStore.add", full)
    with LlmServer(answers(items), delay_s=0.01) as server:
        with pytest.raises(InputError, match="cannot be written"):
            run(items, [SPECS["openai"]], tmp_path / "out", quick(server, tmp_path / "r"), 2)
        assert len(server.requests) <= 4


def test_examples_are_shown_and_change_the_question(tmp_path: Path) -> None:
    items = some(2)
    shown = write_labelled(tmp_path / "shown.jsonl", [marked("x", "Has [measles|DISEASE].")])
    with LlmServer(answers(items)) as server:
        run(items, [SPECS["openai"]], tmp_path / "a", quick(server, tmp_path / "r"))
        asking = quick(server, tmp_path / "r", examples=shown)
        run(items, [SPECS["openai"]], tmp_path / "b", asking)
        assert ["measles" in r.messages[0][1] for r in server.requests] == [False] * 2 + [True] * 2
    assert report(tmp_path / "a")["prompt"] != report(tmp_path / "b")["prompt"]
