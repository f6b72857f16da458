"""How a language model is asked: one request, one reply, and the ways it can fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from clin_edge.distill.teachers.llm.usage import Usage


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: ``system`` first, then ``user``; the answer has the shape ``schema``.

    ``max_output`` bounds the reply, in tokens, thoughts included.
    """

    system: str = field(repr=False)
    user: str = field(repr=False)
    schema: Mapping[str, object] = field(repr=False)
    max_output: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: The model's words.
        finish: Empty where the model came to its end; else a reason, such as ``cut off``.
        model: The model that answered, by its own account.
        usage: Tokens; ``None`` where the server did not count them.
    """

    text: str = field(repr=False)
    finish: str = ""
    model: str = ""
    usage: Usage | None = None


class Client(Protocol):
    """Asks one model of one server; safe to call from several threads."""

    def send(self, request: Request) -> Reply:
        """Ask once, without retrying.

        Raises:
            Busy: If the same request may do better later.
            Rejected: If the server will not answer this request.
            TeacherError: If it will answer none.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Busy(Exception):
    """The server failed for now; the message is the reason, without any text of the server's.

    ``after_s`` is how long it asked to wait; ``sent`` tells whether the request may have been
    answered, and billed, all the same.
    """

    def __init__(self, reason: str, *, after_s: float | None = None, sent: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.sent = sent


class Rejected(Exception):
    """The server will not answer this request; the message is the reason."""


NO_CONNECTION = "no connection"
CUT_OFF, REFUSED = "cut off", "refused"
GARBLED = "not a reply of the protocol"


def body_of(raw: bytes | str) -> Mapping[str, Any] | None:
    """Read a reply's JSON object; ``None`` if it is none."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def dig(value: Any, *path: str | int) -> Any:
    """Follow ``path`` into JSON; ``None`` where it ends early."""
    for step in path:
        if isinstance(step, int) and isinstance(value, list):
            value = value[step] if step < len(value) else None
        elif isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def words(value: Any) -> str:
    """Give a text of a reply as one that UTF-8 can hold; empty if it is no text."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


_MAX_COUNT = 100_000_000  # no model reads or writes so many tokens at once


def usage(counted: Any, cached: Any, output: Any, reasoning: Any) -> Usage | None:
    """Make a usage of a server's counts; ``None`` if they cannot be counts.

    Details that are missing or impossible are taken as none.
    """
    if not (_is_count(counted) and _is_count(output)):
        return None
    part = cached if type(cached) is int and 0 <= cached <= counted else 0
    thought = reasoning if type(reasoning) is int and 0 <= reasoning <= output else 0
    return Usage(counted, part, output, thought)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT
