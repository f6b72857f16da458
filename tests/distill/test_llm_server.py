"""The test server itself: both official clients find it real, and every bad behaviour is one."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types

import llm_server
from clin_edge.distill.teachers.llm.usage import Usage
from llm_protocols import PROTOCOLS
from llm_server import BEHAVIOURS, AnswerTable, LlmServer, closed_port, count_tokens

GOOD = json.dumps({"entities": [{"quote": "aspirin", "label": "MEDICATION", "left": "took"}]})
SCHEMA = {
    "type": "object",
    "properties": {"entities": {"type": "array", "items": {"type": "string"}}},
    "required": ["entities"],
    "additionalProperties": False,
}
TIMEOUT_S = 20.0


class Clients:
    """Both official clients of one server; careless ones, which take what they are given."""

    def __init__(self, server: LlmServer) -> None:
        self.openai = openai.OpenAI(
            base_url=server.openai_url, api_key="test", max_retries=0, timeout=TIMEOUT_S
        )
        options = types.HttpOptions(base_url=server.url, timeout=int(1000 * TIMEOUT_S))
        self.gemini = genai.Client(api_key="test", http_options=options)

    def close(self) -> None:
        self.openai.close()
        self.gemini.close()

    def ask(self, protocol: str, text: str = "a note", **more: Any) -> str:
        """The content; AssertionError if the reply is not what it should be."""
        return (self._ask_openai if protocol == "openai" else self._ask_gemini)(text, **more)

    def _ask_openai(self, text: str, **more: Any) -> str:
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]
        sent = {"temperature": 0.0, "max_tokens": 9, "response_format": {"type": "json_object"}}
        reply = self.openai.chat.completions.create(
            model="toy", messages=messages, **{**sent, **more}
        )
        (choice,) = reply.choices
        assert isinstance(choice.message.content, str)
        assert choice.finish_reason == "stop"
        used = reply.usage
        assert used.total_tokens == used.prompt_tokens + used.completion_tokens
        assert 0 <= used.prompt_tokens_details.cached_tokens <= used.prompt_tokens
        assert used.completion_tokens_details.reasoning_tokens >= 0
        return choice.message.content

    def _ask_gemini(self, text: str, **more: Any) -> str:
        config = types.GenerateContentConfig(
            system_instruction="be brief", response_mime_type="application/json", **more
        )
        reply = self.gemini.models.generate_content(model="toy", contents=text, config=config)
        (candidate,) = reply.candidates
        assert candidate.finish_reason is types.FinishReason.STOP
        used = reply.usage_metadata
        assert 0 < used.prompt_token_count < used.total_token_count
        (part,) = candidate.content.parts
        assert not part.thought
        return part.text


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[LlmServer, Clients]]:
    # One for all: a client takes a tenth of a second to make.
    with LlmServer(lambda _: GOOD) as server:
        clients = Clients(server)
        yield server, clients
        clients.close()


@pytest.fixture
def server(running: tuple[LlmServer, Clients]) -> Iterator[LlmServer]:
    server, _ = running
    server.requests.clear()
    yield server
    assert server.failures == []


@pytest.fixture
def clients(running: tuple[LlmServer, Clients]) -> Clients:
    return running[1]


CASES = [(p, name) for name, behaviour in BEHAVIOURS.items() for p in behaviour.protocols]
# What makes the server refuse, where that is not in every request.
CAUSES: dict[str, dict[str, Any]] = {
    "no_json_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    "no_max_completion_tokens": {"max_completion_tokens": 3},
}


def strict(**changes: Any) -> dict[str, Any]:
    schema = {**SCHEMA, **changes}
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}


def test_there_are_enough_behaviours() -> None:
    for protocol in PROTOCOLS:
        assert sum(protocol in b.protocols for b in BEHAVIOURS.values()) >= 45
    assert {b.group for b in BEHAVIOURS.values()} == {"status", "wire", "envelope", "content"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_official_client_is_answered(
    server: LlmServer, clients: Clients, protocol: str
) -> None:
    assert clients.ask(protocol, "one\n<note>\ntook aspirin\n</note>\n") == GOOD
    (request,) = server.requests
    assert request.protocol == protocol
    assert request.model == "toy"
    assert request.messages[0] == ("system", "be brief")
    assert request.note == "took aspirin"
    assert request.wants == "json_object"
    key = "authorization" if protocol == "openai" else "x-goog-api-key"
    assert request.headers[key].endswith("test")


def test_a_schema_is_seen(server: LlmServer, clients: Clients) -> None:
    assert clients.ask("openai", response_format=strict()) == GOOD
    assert clients.ask("gemini", response_json_schema=SCHEMA) == GOOD
    assert clients.ask("gemini", response_schema={"type": "OBJECT"}) == GOOD
    assert [request.wants for request in server.requests] == ["json_schema"] * 3


@pytest.mark.parametrize("fault", [{"additionalProperties": True}, {"required": []}])
def test_a_loose_schema_is_refused_as_strict_mode_does(
    server: LlmServer, clients: Clients, fault: dict[str, Any]
) -> None:
    form = strict(**fault)
    with pytest.raises(openai.BadRequestError, match="Invalid schema"):
        clients.ask("openai", response_format=form)
    form["json_schema"]["strict"] = False
    assert clients.ask("openai", response_format=form) == GOOD
    assert len(server.requests) == 2


@pytest.mark.usefixtures("server")
def test_models_are_listed(clients: Clients) -> None:
    assert [model.id for model in clients.openai.models.list()] == ["toy"]
    assert [model.name for model in clients.gemini.models.list()] == ["models/toy"]


def test_usage_is_settable(server: LlmServer, clients: Clients) -> None:
    server.usage = lambda *_: Usage(input=100, cached=60, output=30, reasoning=20)
    message = {"role": "user", "content": "x"}
    usage = clients.openai.chat.completions.create(model="toy", messages=[message]).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 30)
    assert usage.prompt_tokens_details.cached_tokens == 60
    assert usage.completion_tokens_details.reasoning_tokens == 20
    counted = clients.gemini.models.generate_content(model="m", contents="x").usage_metadata
    assert (counted.prompt_token_count, counted.cached_content_token_count) == (100, 60)
    assert (counted.candidates_token_count, counted.thoughts_token_count) == (10, 20)
    assert counted.total_token_count == 130
    server.usage = count_tokens
    clients.ask("openai", "12345")  # and "be brief" are 13 characters
    assert count_tokens(server.requests[-1], "1234567") == Usage(input=4, output=2)


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_every_behaviour_is_bad(
    server: LlmServer,
    clients: Clients,
    protocol: str,
    name: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A careless client gets an error or another content; then the server goes on."""
    server.misbehave(name)
    more = CAUSES.get(name, {})
    if name == "no_json_schema" and protocol == "gemini":
        more = {"response_json_schema": SCHEMA}
    if "silence" in name and protocol == "openai":
        more = {"timeout": 0.15}
    if "silence" in name and protocol == "gemini":
        more = {"http_options": types.HttpOptions(timeout=150)}
    if name == "drip":  # a client whose clock starts anew with every byte waits for ever
        threading.Timer(0.3, server.stopping.set).start()
    content = ""
    # Never because the server itself fell over: the fixture looks for that at the end.
    with contextlib.suppress(Exception):
        content = clients.ask(protocol, **more)
    # Left to themselves both clients follow 307 to another host, note and all.
    assert (content == GOOD) == (name == "redirect")
    followed = [r for r in server.requests if r.path.startswith("/elsewhere/")]
    assert len(followed) == (name == "redirect")
    server.stopping.clear()
    assert server.requests[0].behaviour == name
    if BEHAVIOURS[name].group == "wire":
        assert clients.ask(protocol) == GOOD
    assert capfd.readouterr().err == ""


def post(server: LlmServer, text: str = "a note") -> str:
    """Ask without any client, fast."""
    body = {"model": "toy", "messages": [{"role": "user", "content": text}]}
    place = f"{server.openai_url}/chat/completions"
    with urllib.request.urlopen(place, json.dumps(body).encode(), timeout=5) as reply:
        return str(json.load(reply)["choices"][0]["message"]["content"])


def test_behaviours_queue_up_then_a_function_rules() -> None:
    with LlmServer(lambda _: GOOD) as server:
        server.misbehave("prose", None, "empty")
        server.misbehave(lambda request: "top_null" if "odd" in request.user else None)
        answers = [post(server, text) for text in ("odd", "odd", "even", "odd", "even", "odd")]
    assert answers[1:] == [GOOD, "", "null", GOOD, "null"]
    assert [request.behaviour for request in server.requests][:3] == ["prose", "", "empty"]
    with pytest.raises(AssertionError, match="typo"):
        server.misbehave("typo")


def test_requests_under_way_at_once_are_counted() -> None:
    together = threading.Barrier(4)

    def answer(_: str) -> str:
        together.wait(5)
        return GOOD

    with LlmServer(answer) as server:
        threads = [threading.Thread(target=post, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.stats() == {"requests": 4, "busiest": 4, "misbehaved": {}}


@pytest.mark.parametrize("name", ["silence", "head_then_silence", "drip"])
def test_leaving_is_quick_though_a_connection_says_nothing(name: str) -> None:
    asked = threading.Event()
    with LlmServer(lambda _: asked.set() or GOOD) as server:
        server.misbehave(name)

        def ask() -> None:
            with pytest.raises((OSError, http.client.HTTPException, ValueError)):
                post(server)

        thread = threading.Thread(target=ask)
        thread.start()
        assert asked.wait(5)
        start = time.monotonic()
    thread.join()
    assert time.monotonic() - start < 2


def test_a_fault_of_the_test_is_not_swallowed() -> None:
    def ask() -> None:
        with (
            LlmServer(lambda _: {}["nothing"]) as server,
            pytest.raises(http.client.RemoteDisconnected),
        ):
            post(server)

    with pytest.raises(KeyError, match="nothing"):
        ask()


def test_a_closed_port_refuses() -> None:
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


ROWS = [
    {"text": "No drugs.", "answer": {"entities": []}},
    {"text": "Bad one.", "answer": "{broken"},
    {
        "text": "Took aspirin, then ibuprofen.",
        "items": [
            {"start": 5, "end": 12, "item": {"quote": "aspirin"}},
            {"start": 19, "end": 28, "item": {"quote": "iboprofen", "label": "X"}},
        ],
    },
]


@pytest.mark.parametrize(
    ("chunk", "answer"),
    [
        ("No drugs.", '{"entities": []}'),
        ("Bad one.", "{broken"),
        ("Took aspirin, then", '{"entities": [{"quote": "aspirin"}]}'),
        ("spirin, then ibuprofen.", '{"entities": [{"quote": "iboprofen", "label": "X"}]}'),
    ],
)
def test_a_table_answers_for_the_chunk_asked_about(chunk: str, answer: str) -> None:
    table = AnswerTable(ROWS)
    assert table(f"<note>\nan example\n</note>\nnow\n<note>\n{chunk}\n</note>\n") == answer
    with pytest.raises(LookupError, match="no known note"):
        table("no note here")


def test_it_runs_as_a_process(tmp_path: Path) -> None:
    answers, port_file = tmp_path / "answers.jsonl", tmp_path / "port"
    answers.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    command = [sys.executable, llm_server.__file__, "--answers", answers, "--port-file", port_file]
    command += ["--misbehave-every", "2", "prose", "empty"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            while not port_file.exists():
                assert process.poll() is None
                time.sleep(0.01)
            url = f"http://127.0.0.1:{port_file.read_text()}"
            server = SimpleNamespace(openai_url=f"{url}/v1")
            said = [post(server, "<note>\nNo drugs.\n</note>") for _ in range(5)]
            with urllib.request.urlopen(f"{url}/stats", timeout=5) as reply:
                stats = json.load(reply)
        finally:
            process.terminate()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    good = '{"entities": []}'
    assert [said[i] for i in (0, 2, 3, 4)] == [good, good, "", good]
    assert stats == {"requests": 5, "busiest": 1, "misbehaved": {"empty": 1, "prose": 1}}
