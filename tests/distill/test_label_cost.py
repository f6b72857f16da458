"""What language models cost is told to the token, and never passes a ceiling."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from clin_edge.core.errors import TeacherError
from clin_edge.distill.teachers.llm.usage import Usage
from llm_protocols import Request
from llm_runs import (
    LABELS,
    NAMES,
    SPECS,
    answers,
    quick,
    rows,
    run,
    some,
)
from llm_server import LlmServer

pytestmark = pytest.mark.usefixtures("llm_env")

PRICES = """
[models.toy]
input = 2.0
cached = 0.5
output = 8.0
[models.toy-2]
input = 2.0
cached = 0.5
output = 8.0
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


class Counted:
    """What a server counted, by its own rule: it depends on the texts alone."""

    def __init__(self) -> None:
        self.usages: list[Usage] = []
        self.lock = threading.Lock()

    def __call__(self, request: Request, content: str) -> Usage:
        n_input = sum(len(text) for _, text in request.messages) // 4
        thought = len(content) // 3
        used = Usage(n_input, n_input // 3, len(content) // 4 + thought, thought)
        with self.lock:
            self.usages.append(used)
        return used

    @property
    def tokens(self) -> int:
        return sum(used.total for used in self.usages)

    @property
    def cost(self) -> float:
        return (
            sum(2.0 * (u.input - u.cached) + 0.5 * u.cached + 8.0 * u.output for u in self.usages)
            / 1e6
        )


def report(out: Path, name: str = "openai-toy") -> dict:
    return json.loads((out / f"{name}.report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", SPECS)
def test_the_report_adds_up_to_what_the_server_counted(
    kind: str, tmp_path: Path, prices: Path
) -> None:
    items, counted, out = some(6), Counted(), tmp_path / "out"
    with LlmServer(answers(items), usage=counted) as server:
        server.misbehave("truncated", None, "thought", "rate_limit_ms")
        asking = quick(server, tmp_path / "r", prices=prices)
        tally = run(items, [SPECS[kind]], out, asking)[NAMES[kind]]
    told = report(out, NAMES[kind])
    assert told["usage"] == {
        "replies": 7,
        "input_tokens": sum(u.input for u in counted.usages),
        "cached_tokens": sum(u.cached for u in counted.usages),
        "output_tokens": sum(u.output for u in counted.usages),
        "reasoning_tokens": sum(u.reasoning for u in counted.usages),
        "cost_usd": round(counted.cost, 6),
    }
    assert told["usage_this_run"] == told["usage"]
    assert tally.spent.cost == pytest.approx(counted.cost)
    lines = rows(out / f"{NAMES[kind]}.jsonl")
    assert sum(line["usage"]["cost_usd"] for line in lines) == pytest.approx(counted.cost, abs=4e-6)
    assert told["notes"] == {"labelled": 6, "set_aside": {}}
    assert told["entities"] == {"DISEASE": 6, "MEDICATION": 12}
    assert told["placed"] == {"exact": 18}
    assert told["dropped"] == {}
    assert told["labels"] == sorted(LABELS)
    assert (told["teacher"], told["host"]) == (NAMES[kind], "127.0.0.1")
    assert f"{kind}:{told['model']}" == SPECS[kind]
    assert told["prompt"].startswith("ner-1.")


def test_replies_without_a_count_are_told_and_taken_at_the_most(
    tmp_path: Path, prices: Path
) -> None:
    items, out = some(3), tmp_path / "out"
    with LlmServer(answers(items)) as server:
        server.misbehave("no_usage", "reset_body")
        run(items, [SPECS["openai"]], out, quick(server, tmp_path / "r", prices=prices))
        sent = len(server.requests)
    told = report(out)
    assert sent == 4
    assert told["usage"]["replies"] == 3
    assert told["usage_this_run"]["replies"] == 4
    assert told["usage_this_run"]["uncounted_replies"] == 2
    assert told["usage_this_run"]["cost_usd"] > 2 * 512 * 8 / 1e6


@pytest.mark.parametrize("ceiling", ["cost", "tokens"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_no_ceiling_is_passed_and_a_higher_one_takes_only_the_rest(
    tmp_path: Path, prices: Path, ceiling: str, concurrency: int
) -> None:
    items, counted, out = some(24), Counted(), tmp_path / "out"
    with LlmServer(answers(items), usage=counted) as server:

        def go(**limits: float) -> Counter[str]:
            asking = quick(server, tmp_path / "r", prices=prices, **limits)
            tally = run(items, [SPECS["openai"]], out, asking, concurrency)["openai-toy"]
            return tally.set_aside

        limit = 0.03 if ceiling == "cost" else 8_000
        key = "max_cost" if ceiling == "cost" else "max_tokens"
        left = go(**{key: limit})
        reason = "the ceiling of cost or tokens is reached"
        assert list(left) == [reason]
        assert 0 < left[reason] < 24
        assert (counted.cost if ceiling == "cost" else counted.tokens) <= limit
        asked = len(server.requests)
        assert asked == 24 - left[reason]
        done = {row["id"] for row in rows(out / "openai-toy.jsonl")}
        aside = {row["id"] for row in rows(out / "quarantine" / "openai-toy.jsonl")}
        assert done | aside == {item.note.id for item in items}
        assert not done & aside
        assert not go()
        assert len(server.requests) == 24
        assert len({request.note for request in server.requests}) == 24
    assert not (out / "quarantine" / "openai-toy.jsonl").exists()
    assert report(out)["usage_this_run"]["replies"] == left[reason]
    assert report(out)["usage"]["replies"] == 24


def test_a_ceiling_below_one_request_sends_none(tmp_path: Path, prices: Path) -> None:
    items, out = some(3), tmp_path / "out"
    with LlmServer(answers(items)) as server:
        asking = quick(server, tmp_path / "r", prices=prices, max_cost=0.0001)
        with pytest.raises(
            TeacherError, match="no usable answer to any of 3 notes, mostly: the ceiling"
        ):
            run(items, [SPECS["openai"]], out, asking)
        assert not server.requests
    assert list(out.glob("*.jsonl")) == []


def test_teachers_share_the_budget(tmp_path: Path, prices: Path) -> None:
    items, counted = some(12), Counted()
    with LlmServer(answers(items), usage=counted) as server:
        asking = quick(server, tmp_path / "r", prices=prices, max_tokens=9_000)
        run(items, SPECS.values(), tmp_path / "out", asking)
    assert 0 < counted.tokens <= 9_000
