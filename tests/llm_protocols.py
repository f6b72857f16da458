"""The two protocols language models are asked in: requests as read, replies as sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clin_edge.distill.teachers.llm.usage import Usage

PROTOCOLS = ("openai", "gemini")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in; header names are in lower case, ``at`` is monotonic seconds."""

    protocol: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    at: float
    behaviour: str = ""

    @property
    def model(self) -> str:
        """The model asked for."""
        if self.protocol == "gemini":
            return self.path.partition("/models/")[2].partition(":")[0]
        return str(self.body["model"])

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Role and text of every message, the system's first."""
        if self.protocol == "openai":
            return [(m["role"], _text(m["content"], "text")) for m in self.body["messages"]]
        system = self.body.get("systemInstruction")
        head = [("system", _text(system["parts"], "text"))] if system else []
        turns = self.body["contents"]
        return head + [(t.get("role", "user"), _text(t["parts"], "text")) for t in turns]

    @property
    def user(self) -> str:
        """The text of the last message of the user."""
        return next(text for role, text in reversed(self.messages) if role == "user")

    @property
    def note(self) -> str:
        """What stands between the lines ``<note>`` and ``</note>`` of that message."""
        return self.user.rpartition("<note>\n")[2].rpartition("\n</note>")[0]

    @property
    def wants(self) -> str:
        """The form asked for: ``json_schema``, ``json_object`` or ``text``."""
        if self.protocol == "openai":
            return str((self.body.get("response_format") or {}).get("type", "text"))
        config = self.body.get("generationConfig", {})
        if "responseSchema" in config or "responseJsonSchema" in config:
            return "json_schema"
        is_json = config.get("responseMimeType") == "application/json"
        return "json_object" if is_json else "text"


def _text(content: Any, key: str) -> str:
    return content if isinstance(content, str) else "".join(part[key] for part in content)


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send: the shares of head and body that really go out, then what happens.

    ``ending`` is ``keep`` (the connection lives on), ``close``, ``reset``, ``silence`` (until the
    client leaves) or ``drip`` (blanks, one at a time, until the client leaves).
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    head_share: float = 1.0
    body_share: float = 1.0
    ending: str = "keep"
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and what a well-behaved server would make of it."""

    request: Request
    port: int
    content: Callable[[], str]
    usage: Callable[[str], Usage]

    def envelope(self, content: str | None = None) -> dict[str, Any]:
        """The protocol's JSON around the content."""
        text = self.content() if content is None else content
        make = _openai if self.request.protocol == "openai" else _gemini
        return make(self.request.model, text, self.usage(text))


def _openai(model: str, text: str, usage: Usage) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.total,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        },
    }


def _gemini(model: str, text: str, usage: Usage) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": usage.input,
            "cachedContentTokenCount": usage.cached,
            "candidatesTokenCount": usage.output - usage.reasoning,
            "thoughtsTokenCount": usage.reasoning,
            "totalTokenCount": usage.total,
        },
        "modelVersion": model,
        "responseId": "r1",
    }


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON body; lone surrogates are escaped, so every Python string can be sent."""
    return Reply(json.dumps(value).encode(), status, dict(headers or {}))


def error_reply(
    protocol: str, status: int, message: str, code: str = "", param: str = "", **headers: str
) -> Reply:
    """The protocol's JSON for an error."""
    if protocol == "openai":
        kind = "invalid_request_error" if status < 500 else "server_error"
        error: dict[str, Any] = {"message": message, "type": code or kind}
        error |= {"param": param or None, "code": code or None}
    else:
        error = {"code": status, "message": message, "status": GOOGLE_STATUS.get(status, "UNKNOWN")}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return json_reply({"error": error}, status, sent)


GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def schema_fault(request: Request) -> str:
    """Say what OpenAI's strict mode refuses in the schema asked for: '' if nothing.

    Every object must list all its properties as required and allow no others.
    """
    if request.protocol != "openai" or request.wants != "json_schema":
        return ""
    asked = request.body["response_format"]["json_schema"]
    todo = [asked["schema"]] if asked.get("strict") else []
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            names = set(node.get("properties", ()))
            if node.get("type") == "object":
                if node.get("additionalProperties") is not False:
                    return "additionalProperties must be false"
                if set(node.get("required", ())) != names:
                    return "required must name every property"
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return ""
