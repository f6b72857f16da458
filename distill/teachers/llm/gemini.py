"""Gemini's generateContent, by Google's google-genai client."""

from __future__ import annotations

import httpx2
from google import genai
from google.genai import errors, types

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

HOME = "https://generativelanguage.googleapis.com"
_WELL = ("STOP", "FINISH_REASON_UNSPECIFIED", None)


class GeminiClient:
    """Asks by the official client; see ``Client``."""

    def __init__(
        self, teacher: str, model: str, url: str, key: str, *, outside: bool, timeout_s: float
    ) -> None:
        self._teacher = teacher
        self._model = model
        self._host = host_of(url)
        self._http = http_client(outside=outside, timeout_s=timeout_s)
        self._client = genai.Client(
            api_key=key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=url,
                httpx_client=self._http,
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    def send(self, request: Request) -> Reply:
        """Ask once."""
        config = types.GenerateContentConfig(
            system_instruction=request.system,
            temperature=0,
            max_output_tokens=request.max_output,
            response_mime_type="application/json",
            response_json_schema=dict(request.schema),
            should_return_http_response=True,
        )
        try:
            response = self._client.models.generate_content(
                model=self._model, contents=request.user, config=config
            )
        except errors.APIError as error:
            said = dig(error.details, "error", "details")
            details = said if isinstance(said, list) else []
            reason = next((words(dig(d, "reason")) for d in details if dig(d, "reason")), "")
            # Google says how long to wait in the body, such as "1.5s".
            delay = next((words(dig(d, "retryDelay")) for d in details if dig(d, "retryDelay")), "")
            headers = {"retry-after": delay.removesuffix("s")} if delay else {}
            headers |= dict(getattr(error.response, "headers", {}))
            raise refusal(self._teacher, self._host, error.code, reason, headers) from None
        except httpx2.TimeoutException as error:
            sent = not isinstance(error, httpx2.ConnectTimeout)
            raise Busy("no answer in time", sent=sent) from None
        except httpx2.ConnectError:
            raise Busy(NO_CONNECTION) from None
        except (httpx2.HTTPError, ValueError):
            raise Busy("a torn or oversized reply", sent=True) from None
        raw = response.sdk_http_response
        return _reply(raw.body or "" if raw else "")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _reply(raw: str) -> Reply:
    body = body_of(raw)
    counts = dig(body, "usageMetadata")
    thought = dig(counts, "thoughtsTokenCount")
    thought = thought if type(thought) is int and thought > 0 else 0
    output = dig(counts, "candidatesTokenCount")
    output = 0 if output is None and dig(counts, "promptTokenCount") is not None else output
    used = usage(
        dig(counts, "promptTokenCount"),
        dig(counts, "cachedContentTokenCount"),
        output + thought if type(output) is int else output,
        thought,
    )
    parts = dig(body, "candidates", 0, "content", "parts")
    texts = [
        part["text"]
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(dig(part, "text"), str) and not dig(part, "thought")
    ]
    reason = dig(body, "candidates", 0, "finishReason")
    if dig(body, "promptFeedback", "blockReason"):
        finish = REFUSED
    elif reason == "MAX_TOKENS":
        finish = CUT_OFF
    elif not texts:
        finish = GARBLED if reason in _WELL else REFUSED
    else:
        finish = "" if reason in _WELL else REFUSED
    return Reply(words("".join(texts)), finish, words(dig(body, "modelVersion")), used)
