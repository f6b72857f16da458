"""Both protocols as their official clients speak them: what is sent, and what a reply means."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from clin_edge.core.errors import TeacherError
from clin_edge.distill.prompts import load_prompt
from clin_edge.distill.teachers.llm.client import Busy, Client, Rejected, Reply, Request, usage
from clin_edge.distill.teachers.llm.gemini import GeminiClient
from clin_edge.distill.teachers.llm.openai import OpenAIClient
from clin_edge.distill.teachers.llm.usage import Usage
from llm_protocols import PROTOCOLS, json_reply
from llm_runs import KEY
from llm_server import BEHAVIOURS, Behaviour, LlmServer, closed_port

pytestmark = pytest.mark.usefixtures("llm_env")

PROMPT = load_prompt(["DISEASE"])
REQUEST = Request(PROMPT.system, PROMPT.ask("Zebulon has gout."), PROMPT.schema, 99)
ANSWER = '{"entities": []}'
Maker = Callable[..., Client]


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with LlmServer(lambda _: ANSWER) as server:
        yield server


@pytest.fixture
def make() -> Iterator[Maker]:
    """Make clients that are closed in the end."""
    made: list[Client] = []

    def make(protocol: str, url: str, timeout_s: float = 20.0) -> Client:
        kind: Any = OpenAIClient if protocol == "openai" else GeminiClient
        url += "/v1" if protocol == "openai" else ""
        made.append(kind("a-teacher", "toy", url, KEY, outside=False, timeout_s=timeout_s))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_what_openai_is_sent(server: LlmServer, make: Maker) -> None:
    make("openai", server.url).send(REQUEST)
    (sent,) = server.requests
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept-encoding"] == "identity"
    schema = {"name": "entities", "strict": True, "schema": PROMPT.schema}
    assert sent.body == {
        "model": "toy",
        "messages": [
            {"role": "system", "content": PROMPT.system},
            {"role": "user", "content": "<note>\nZebulon has gout.\n</note>"},
        ],
        "max_tokens": 99,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def test_what_gemini_is_sent(server: LlmServer, make: Maker) -> None:
    make("gemini", server.url).send(REQUEST)
    (sent,) = server.requests
    assert re.fullmatch("/v1(beta)?/models/toy:generateContent", sent.path)
    assert sent.headers["x-goog-api-key"] == KEY
    assert sent.messages == [("system", PROMPT.system), ("user", REQUEST.user)]
    config = sent.body["generationConfig"]
    assert config.pop("responseJsonSchema", None) == PROMPT.schema
    assert config == {
        "temperature": 0,
        "maxOutputTokens": 99,
        "responseMimeType": "application/json",
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_good_reply(server: LlmServer, make: Maker, protocol: str) -> None:
    server.usage = lambda *_: Usage(1_000, 400, 77, 50)
    reply = make(protocol, server.url).send(REQUEST)
    assert reply == Reply(ANSWER, "", "toy", Usage(1_000, 400, 77, 50))


@pytest.mark.parametrize(
    ("behaviours", "wants", "limits", "warm"),
    [
        (["no_json_schema"], ["json_schema", "json_object"], ["max_tokens"], True),
        (
            ["plain_text_only"],
            ["json_schema", "json_object", "text"],
            ["max_tokens"],
            True,
        ),
        (
            ["no_max_tokens"],
            ["json_schema", "json_schema"],
            ["max_tokens", "max_completion_tokens"],
            True,
        ),
        (["no_temperature"], ["json_schema", "json_schema"], ["max_tokens"], False),
    ],
)
def test_a_refused_parameter_is_left_out_from_then_on(
    server: LlmServer, make: Maker, behaviours: list[str], wants, limits, warm: bool
) -> None:
    server.misbehave(lambda _: behaviours[0])
    client = make("openai", server.url)
    assert client.send(REQUEST).text == ANSWER
    assert [sent.wants for sent in server.requests] == wants
    assert list(dict.fromkeys(k for r in server.requests for k in r.body if "max_" in k)) == limits
    assert ("temperature" in server.requests[-1].body) is warm
    first = len(server.requests)
    client.send(REQUEST)
    client.send(REQUEST)
    assert len(server.requests) == first + 2


def test_several_refusals_are_learnt_together(server: LlmServer, make: Maker) -> None:
    def choose(request: Any) -> str | None:
        for name in ("temperature", "max_tokens"):
            if name in request.body:
                return f"no_{name}"
        return "plain_text_only"

    server.misbehave(choose)
    client = make("openai", server.url)
    for n_requests in (5, 6):
        assert client.send(REQUEST).text == ANSWER
        assert len(server.requests) == n_requests
    assert set(server.requests[-1].body) == {"model", "messages", "max_completion_tokens"}


def test_a_server_that_refuses_either_limit_is_not_asked_for_ever(
    server: LlmServer, make: Maker
) -> None:
    server.misbehave(
        lambda r: "no_max_tokens" if "max_tokens" in r.body else "no_max_completion_tokens"
    )
    with pytest.raises(Rejected, match="refused with status 400"):
        make("openai", server.url).send(REQUEST)
    assert len(server.requests) == 2


def test_at_home_the_newer_limit_is_sent(server: LlmServer, make: Maker, monkeypatch) -> None:
    monkeypatch.setattr("clin_edge.distill.teachers.llm.openai.HOME", server.openai_url)
    make("openai", server.url).send(REQUEST)
    assert server.requests[0].body["max_completion_tokens"] == 99


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("behaviour", "reason", "after_s", "sent"),
    [
        ("rate_limit_ms", "status 429", 0.02, False),
        ("rate_limit_second", "status 429", 1, False),
        ("unavailable", "status 503", None, False),
        ("reset_body", "a torn or oversized reply", None, True),
        ("closed", "a torn or oversized reply", None, True),
        ("nonsense_10mb", "a torn or oversized reply", None, True),
    ],
)
def test_what_may_do_better_later(
    server: LlmServer, make: Maker, protocol: str, behaviour: str, reason: str, after_s, sent: bool
) -> None:
    server.misbehave(behaviour)
    with pytest.raises(Busy) as caught:
        make(protocol, server.url).send(REQUEST)
    assert (str(caught.value), caught.value.after_s, caught.value.sent) == (reason, after_s, sent)
    assert len(server.requests) == 1  # the vendors' clients retry nothing by themselves


def test_googles_word_for_a_bad_key_is_understood(
    server: LlmServer, make: Maker, monkeypatch
) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": "…", "status": "INVALID_ARGUMENT", "details": [info]}
    reply = json_reply({"error": error}, 400)
    monkeypatch.setitem(BEHAVIOURS, "mine", Behaviour("status", lambda _: reply))
    server.misbehave("mine")
    with pytest.raises(TeacherError, match=r"does not take the API key \(400\)"):
        make("gemini", server.url).send(REQUEST)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_answer_in_time_may_have_been_billed(
    server: LlmServer, make: Maker, protocol: str
) -> None:
    server.misbehave("silence")
    with pytest.raises(Busy, match="no answer in time") as caught:
        make(protocol, server.url, timeout_s=0.2).send(REQUEST)
    assert caught.value.sent


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_never_sent_was_not_billed(make: Maker, protocol: str) -> None:
    with closed_port() as port, pytest.raises(Busy, match="no connection") as caught:
        make(protocol, f"http://127.0.0.1:{port}").send(REQUEST)
    assert not caught.value.sent


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nor_was_what_found_no_connection_in_time(make: Maker, protocol: str, monkeypatch) -> None:
    def handle_request(*_: object) -> None:
        raise httpx2.ConnectTimeout("")

    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", handle_request)
    with pytest.raises(Busy, match="no answer in time") as caught:
        make(protocol, "http://10.0.0.1").send(REQUEST)
    assert not caught.value.sent


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("behaviour", ["unauthorized", "forbidden", "context_length", "closed"])
def test_an_error_tells_nothing_of_what_was_said(
    server: LlmServer, make: Maker, protocol: str, behaviour: str, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    server.misbehave(behaviour)
    with pytest.raises((TeacherError, Rejected, Busy)) as caught:
        make(protocol, server.url).send(REQUEST)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    told += "".join(capfd.readouterr())
    for word in (KEY, "Zebulon", "Incorrect", "exceeds", "from this country", "<note>"):
        assert word not in told


ASK = """
import logging, sys
from clin_edge.distill.teachers.llm.client import Request
from clin_edge.distill.teachers.llm.openai import OpenAIClient
assert logging.getLogger("openai").level == logging.DEBUG  # this is what the variable does
client = OpenAIClient("t", "toy", sys.argv[1], sys.argv[2], outside=False, timeout_s=20)
client.send(Request("system", "Zebulon has gout", {"type": "string"}, 9))
logging.getLogger("mine").error("this log is heard")
"""


def test_openais_debug_log_is_off(server: LlmServer) -> None:
    env = {**os.environ, "OPENAI_LOG": "debug"}
    args = (sys.executable, "-c", ASK, server.openai_url, KEY)
    done = subprocess.run(args, capture_output=True, text=True, check=True, env=env)
    assert len(server.requests) == 1
    assert "this log is heard" in done.stderr
    for word in (KEY, "Zebulon", "gout", "entities"):
        assert word not in done.stderr + done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_log_of_the_vendors_is_heard(
    server: LlmServer, make: Maker, protocol: str, caplog
) -> None:
    for name in ("openai", "google_genai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, name)
    make(protocol, server.url).send(REQUEST)
    assert not caplog.records


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((9, 4, 3, 2), Usage(9, 4, 3, 2)),
        ((9, None, 3, None), Usage(9, 0, 3, 0)),
        ((9, 10, 3, -1), Usage(9, 0, 3, 0)),
        ((9, 4.0, 3, True), Usage(9, 0, 3, 0)),
        ((0, 0, 0, 0), Usage()),
        ((-1, 0, 3, 0), None),
        ((9, 0, None, 0), None),
        ((9.0, 0, 3, 0), None),
        ((True, 0, 3, 0), None),
        (("9", 0, 3, 0), None),
        ((10**30, 0, 3, 0), None),
        ((9, 0, 2**53, 0), None),
    ],
)
def test_what_can_be_a_count(counts: tuple[Any, ...], expected: Usage | None) -> None:
    assert usage(*counts) == expected


def test_requests_and_replies_show_no_text_when_printed() -> None:
    shown = repr(REQUEST) + repr(Reply("Zebulon", "refused", "toy", Usage()))
    assert "Zebulon" not in shown
    assert "DISEASE" not in shown


@pytest.mark.parametrize(
    ("protocol", "behaviour", "after_s"),
    [
        ("openai", "rate_limit_second", 1.0),
        ("gemini", "rate_limit_second", 1.0),
        ("openai", "rate_limit_ms", 0.02),
        ("gemini", "rate_limit_info", 1.5),  # in the body, as Google says it
        ("gemini", "rate_limit", None),
    ],
)
def test_how_long_a_server_asks_to_wait(
    server: LlmServer, make: Maker, protocol: str, behaviour: str, after_s: float | None
) -> None:
    server.misbehave(behaviour)
    with pytest.raises(Busy) as caught:
        make(protocol, server.url).send(REQUEST)
    assert (caught.value.after_s, caught.value.sent) == (after_s, False)
