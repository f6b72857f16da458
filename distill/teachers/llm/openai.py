"""OpenAI's chat completions, of OpenAI or of any server that speaks the same protocol."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai

from clin_edge.distill.teachers.llm.client import (
    CUT_OFF,
    GARBLED,
    NO_CONNECTION,
    REFUSED,
    Busy,
    Reply,
    Request,
    body_of,
    dig,
    usage,
    words,
)
from clin_edge.distill.teachers.llm.http import host_of, http_client, refusal

HOME = "https://api.openai.com/v1"
_FINISHES = {"length": CUT_OFF, "content_filter": REFUSED}


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What a server understands; learnt from its refusals, the best first."""

    shape: str = "json_schema"  # or json_object, or text
    limit: str = "max_completion_tokens"  # or max_tokens
    temperature: bool = True

    def without(self, param: str) -> _Dialect | None:
        """Give a plainer dialect, without the parameter refused; ``None`` if there is none."""
        if "max_" in param:
            other = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}
            return replace(self, limit=other[self.limit])
        if "temperature" in param:
            return replace(self, temperature=False) if self.temperature else None
        plainer = {"json_schema": "json_object", "json_object": "text"}.get(self.shape)
        return replace(self, shape=plainer) if plainer else None


class OpenAIClient:
    """Asks by the official client; see ``Client``.

    Structured output by JSON schema, by JSON mode or in plain text: whatever the server takes.
    """

    def __init__(
        self, teacher: str, model: str, url: str, key: str, *, outside: bool, timeout_s: float
    ) -> None:
        self._teacher = teacher
        self._model = model
        self._host = host_of(url)
        self._http = http_client(outside=outside, timeout_s=timeout_s)
        self._client = openai.OpenAI(
            api_key=key, base_url=url, max_retries=0, http_client=self._http
        )
        # Other servers than OpenAI's mostly know the older name of the limit.
        at_home = self._host == host_of(HOME)
        self._dialect = _Dialect(limit="max_completion_tokens" if at_home else "max_tokens")
        self._lock = threading.Lock()

    def send(self, request: Request) -> Reply:
        """Ask once; on the first refusals also in plainer dialects, which are not billed."""
        dialect, tried = self._dialect, set[_Dialect]()
        while True:
            tried.add(dialect)
            try:
                reply = self._ask(request, dialect)
            except openai.BadRequestError as error:
                plainer = dialect.without(words(dig(error.body, "param")))
                final = dig(error.body, "code") in ("context_length_exceeded", "content_filter")
                if final or plainer is None or plainer in tried:
                    raise self._failure(error) from None
                dialect = plainer
            except openai.UnprocessableEntityError as error:
                plainer = dialect.without("response_format")
                if plainer is None:
                    raise self._failure(error) from None
                dialect = plainer
            except openai.APIStatusError as error:
                raise self._failure(error) from None
            except openai.APITimeoutError as error:
                sent = not isinstance(error.__cause__, httpx2.ConnectTimeout)
                raise Busy("no answer in time", sent=sent) from None
            except openai.APIConnectionError as error:
                if isinstance(error.__cause__, httpx2.ConnectError):
                    raise Busy(NO_CONNECTION) from None
                raise Busy("a torn or oversized reply", sent=True) from None
            except (httpx2.HTTPError, openai.OpenAIError, ValueError):
                raise Busy("a torn or oversized reply", sent=True) from None
            else:
                with self._lock:
                    self._dialect = dialect
                return reply

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, request: Request, dialect: _Dialect) -> Reply:
        shapes: dict[str, dict[str, Any]] = {
            "json_schema": {
                "type": "json_schema",
                "json_schema": {"name": "entities", "strict": True, "schema": request.schema},
            },
            "json_object": {"type": "json_object"},
        }
        settings: dict[str, Any] = {dialect.limit: request.max_output}
        if dialect.temperature:
            settings["temperature"] = 0
        if dialect.shape in shapes:
            settings["response_format"] = shapes[dialect.shape]
        raw = self._client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.user},
            ],
            **settings,
        )
        return _reply(raw.http_response.content)

    def _failure(self, error: openai.APIStatusError) -> Exception:
        code = words(dig(error.body, "code"))
        return refusal(self._teacher, self._host, error.status_code, code, error.response.headers)


def _reply(raw: bytes) -> Reply:
    body = body_of(raw)
    message = dig(body, "choices", 0, "message")
    counts = dig(body, "usage")
    used = usage(
        dig(counts, "prompt_tokens"),
        dig(counts, "prompt_tokens_details", "cached_tokens"),
        dig(counts, "completion_tokens"),
        dig(counts, "completion_tokens_details", "reasoning_tokens"),
    )
    finish = _FINISHES.get(dig(body, "choices", 0, "finish_reason"), "")
    if dig(message, "refusal"):
        finish = REFUSED
    elif not isinstance(dig(message, "content"), str):
        finish = finish or GARBLED
    return Reply(words(dig(message, "content")), finish, words(dig(body, "model")), used)
