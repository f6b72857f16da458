"""What a language model's server can get wrong, by name: ``BEHAVIOURS``.

A behaviour makes the reply to one request. ``status`` ones refuse it, ``wire`` ones break the
connection, ``envelope`` ones break the protocol's JSON, ``content`` ones the model's own words.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_protocols import PROTOCOLS, Exchange, Reply, error_reply, json_reply


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to answer badly; ``reply`` gives ``None`` where the request gives no cause."""

    group: str
    reply: Callable[[Exchange], Reply | None]
    protocols: tuple[str, ...] = PROTOCOLS


def _status(status: int, message: str, code: str = "", **headers: str) -> Behaviour:
    def reply(exchange: Exchange) -> Reply:
        return error_reply(exchange.request.protocol, status, message, code, **headers)

    return Behaviour("status", reply)


def _form(*refused: str) -> Behaviour:
    """Refuse these forms of an answer."""

    def reply(exchange: Exchange) -> Reply | None:
        wanted = exchange.request.wants
        message = f"'response_format' of type '{wanted}' is not supported"
        no = error_reply(exchange.request.protocol, 400, message, "", "response_format")
        return no if wanted in refused else None

    return Behaviour("status", reply)


def _unsupported(param: str, message: str) -> Behaviour:
    def reply(exchange: Exchange) -> Reply | None:
        no = error_reply("openai", 400, message, "unsupported_parameter", param)
        return no if param in exchange.request.body else None

    return Behaviour("status", reply, ("openai",))


def _limited(**headers: str) -> Behaviour:
    return _status(429, "Rate limit reached for requests", "rate_limit_exceeded", **headers)


def _dated(seconds: float) -> Behaviour:
    def reply(exchange: Exchange) -> Reply:
        date = email.utils.formatdate(time.time() + seconds, usegmt=True)
        return error_reply(exchange.request.protocol, 429, "slow down", Retry_After=date)

    return Behaviour("status", reply)


def _retry_info(_: Exchange) -> Reply:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
    error = {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": [info]}
    return json_reply({"error": error}, 429)


def _redirect(exchange: Exchange) -> Reply:
    """To another host, which happens to be this server too: it records who follows."""
    place = f"http://localhost:{exchange.port}/elsewhere{exchange.request.path}"
    return Reply(b"", 307, {"Location": place})


def _sent(group: str, body: bytes, status: int = 200, **headers: str) -> Behaviour:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Behaviour(group, lambda _: Reply(body, status, sent))


def _wire(**changes: Any) -> Behaviour:
    def reply(exchange: Exchange) -> Reply:
        return Reply(**{"body": json_reply(exchange.envelope()).body, **changes})

    return Behaviour("wire", reply)


def _torn(change: Callable[[bytes], bytes]) -> Behaviour:
    def reply(exchange: Exchange) -> Reply:
        return Reply(change(json_reply(exchange.envelope()).body))

    return Behaviour("envelope", reply)


def _envelope(change: Callable[[dict[str, Any]], Any], *protocols: str) -> Behaviour:
    """``change`` alters the good envelope in place."""

    def reply(exchange: Exchange) -> Reply:
        good = exchange.envelope()
        change(good)
        return json_reply(good)

    return Behaviour("envelope", reply, protocols or PROTOCOLS)


def _choice(**fields: Any) -> Behaviour:
    return _envelope(lambda good: good["choices"][0].update(fields), "openai")


def _message(**fields: Any) -> Behaviour:
    return _envelope(lambda good: good["choices"][0]["message"].update(fields), "openai")


def _used(**fields: Any) -> Behaviour:
    return _envelope(lambda good: good["usage"].update(fields), "openai")


def _candidate(**fields: Any) -> Behaviour:
    return _envelope(lambda good: good["candidates"][0].update(fields), "gemini")


def _top(protocol: str, **fields: Any) -> Behaviour:
    return _envelope(lambda good: good.update(fields), protocol)


def _parts(*parts: dict[str, Any]) -> Behaviour:
    return _candidate(content={"role": "model", "parts": list(parts)})


def _drop_usage(good: dict[str, Any]) -> None:
    good.pop("usage", None)
    good.pop("usageMetadata", None)


def _split(good: dict[str, Any]) -> None:
    """Give the words in two parts after a thought, as Gemini may."""
    content = good["candidates"][0]["content"]
    text = content["parts"][0]["text"]
    half = len(text) // 2
    thought = {"text": "The note names {", "thought": True}
    content["parts"] = [thought, {"text": text[:half]}, {"text": text[half:]}]


def _cut(good: dict[str, Any]) -> None:
    """End the words in the middle, and say so."""
    if "choices" in good:
        choice = good["choices"][0]
        choice["finish_reason"] = "length"
        choice["message"]["content"] = choice["message"]["content"][:-5]
    else:
        candidate = good["candidates"][0]
        candidate["finishReason"] = "MAX_TOKENS"
        part = candidate["content"]["parts"][0]
        part["text"] = part["text"][:-5]


def _content(change: Callable[[str], str]) -> Behaviour:
    def reply(exchange: Exchange) -> Reply:
        return json_reply(exchange.envelope(change(exchange.content())))

    return Behaviour("content", reply)


def _says(text: str) -> Behaviour:
    return _content(lambda _: text)


def _parsed(change: Callable[[Any], Any]) -> Behaviour:
    return _content(lambda good: json.dumps(change(json.loads(good))))


def _relabel(value: Any) -> Any:
    """Put a label nobody asked for into every entity, and into an answer without any."""
    if isinstance(value, list):
        return [_relabel(v) for v in value] or [{"quote": "the", "label": "BANANA"}]
    if isinstance(value, dict):
        return {k: "BANANA" if k == "label" else _relabel(v) for k, v in value.items()}
    return value


def _mistype(value: Any) -> Any:
    """Numbers, nulls and lists where strings or objects belong."""
    if isinstance(value, dict):
        return {key: _mistype(v) for key, v in value.items()}
    if isinstance(value, list):
        return [7, None, [], {"quote": 3, "label": ["MEDICATION"], "left": {}}, True]
    return 7


def _values(good: Any, value: Any) -> Any:
    return dict.fromkeys(good, value) if isinstance(good, dict) else value


_ENTITY = {"quote": "the", "label": "MEDICATION", "left": ""}
_THOUGHT = '<think>\nThe note says {x}; is that an "entity"? Perhaps.\n'

BEHAVIOURS: dict[str, Behaviour] = {
    # --- status: the server says no
    "no_json_schema": _form("json_schema"),
    "plain_text_only": _form("json_schema", "json_object"),
    "no_temperature": _unsupported(
        "temperature", "Unsupported value: 'temperature' does not support 0.0 with this model."
    ),
    "no_max_tokens": _unsupported(
        "max_tokens", "Unsupported parameter; use 'max_completion_tokens' instead."
    ),
    "no_max_completion_tokens": _unsupported(
        "max_completion_tokens", "Unrecognized request argument: max_completion_tokens"
    ),
    "context_length": _status(
        400, "The input exceeds the maximum context length", "context_length_exceeded"
    ),
    "content_filter": _status(400, "The prompt was filtered", "content_filter"),
    "bad_request": _status(400, "Bad request"),
    "unauthorized": _status(401, "Incorrect API key provided: test", "invalid_api_key"),
    "forbidden": _status(403, "Not allowed from this country", "unsupported_country"),
    "not_found": _status(404, "The model does not exist", "model_not_found"),
    "request_timeout": _status(408, "Request timed out"),
    "conflict": _status(409, "Conflict"),
    "too_large": _status(413, "Request too large"),
    "rate_limit": _limited(),
    "rate_limit_second": _limited(Retry_After="1"),
    "rate_limit_ms": _limited(retry_after_ms="20"),
    "rate_limit_date": _dated(2),
    "rate_limit_past": _dated(-3600),
    "rate_limit_huge": _limited(Retry_After="99999999999"),
    "rate_limit_negative": _limited(Retry_After="-5"),
    "rate_limit_nan": _limited(Retry_After="nan"),
    "rate_limit_garbage": _limited(Retry_After="soon, perhaps"),
    "rate_limit_info": Behaviour("status", _retry_info, ("gemini",)),
    "no_quota": _status(429, "You exceeded your current quota", "insufficient_quota"),
    "server_error": _status(500, "The server had an error"),
    "unavailable": _status(503, "Overloaded"),
    "unavailable_second": _status(503, "Overloaded", Retry_After="1"),
    "gateway_timeout": _status(504, "Deadline exceeded"),
    "overloaded": _status(529, "Overloaded"),
    "bad_gateway_html": _sent(
        "status", b"<html><h1>502 Bad Gateway</h1></html>", 502, Content_Type="text/html"
    ),
    "error_empty_body": _sent("status", b"", 500),
    "error_is_a_list": _sent("status", b'[{"error": "no"}]', 400),
    "redirect": Behaviour("status", _redirect),
    # --- wire: the connection breaks
    "closed": _wire(head_share=0, body_share=0, ending="close"),
    "reset": _wire(head_share=0, body_share=0, ending="reset"),
    "silence": _wire(head_share=0, body_share=0, ending="silence"),
    "torn_head": _wire(head_share=0.5, body_share=0, ending="close"),
    "torn_body": _wire(body_share=0.5, ending="close"),
    "reset_body": _wire(body_share=0.5, ending="reset"),
    "head_then_silence": _wire(body_share=0, ending="silence"),
    "silence_in_body": _wire(body_share=0.5, ending="silence"),
    "drip": _wire(body_share=0, ending="drip"),
    "not_http": _wire(raw=b"SSH-2.0-OpenSSH_9.6\r\n", ending="close"),
    "bad_gzip": _sent("wire", b"this is not gzip", Content_Encoding="gzip"),
    # --- envelope: HTTP is well, the protocol's JSON is not
    "not_json": _sent("envelope", b"OK, here you are: {entities"),
    "html_page": _sent("envelope", b"<html>Log in, guest</html>", Content_Type="text/html"),
    "empty_body": _sent("envelope", b""),
    "body_null": _sent("envelope", b"null"),
    "body_list": _torn(lambda good: b"[" + good + b"]"),
    "body_string": _sent("envelope", b'"done"'),
    "body_empty_object": _sent("envelope", b"{}"),
    "torn_json": _torn(lambda good: good[: len(good) // 2]),
    "not_utf8": _torn(lambda good: good.replace(b'"id"', b'"\xff"').replace(b"STOP", b"\xff")),
    "error_with_200": _sent("envelope", b'{"error": {"message": "upstream", "code": 502}}'),
    "cut_short": _envelope(_cut),
    "no_usage": _envelope(_drop_usage),
    "usage_null": _top("openai", usage=None),
    "usage_words": _used(prompt_tokens="many", completion_tokens=None),
    "usage_negative": _used(prompt_tokens=-5, completion_tokens=-1),
    "usage_huge": _used(prompt_tokens=10**30, completion_tokens=10**30),
    "usage_impossible": _used(prompt_tokens_details={"cached_tokens": 10**9}),
    "usage_without_details": _used(prompt_tokens_details=None, completion_tokens_details=None),
    "choices_missing": _envelope(lambda good: good.pop("choices"), "openai"),
    "choices_null": _top("openai", choices=None),
    "choices_empty": _top("openai", choices=[]),
    "choices_object": _top("openai", choices={"0": "?"}),
    "choice_null": _top("openai", choices=[None]),
    "message_missing": _envelope(lambda good: good["choices"][0].pop("message"), "openai"),
    "message_null": _choice(message=None),
    "message_string": _choice(message="aspirin"),
    "content_missing": _choice(message={"role": "assistant"}),
    "content_null": _message(content=None),
    "content_list": _message(content=[{"type": "text", "text": "{}"}]),
    "content_number": _message(content=3),
    "refusal": _message(content=None, refusal="I cannot help with medical notes."),
    "tool_call": _message(content=None, tool_calls=[{"id": "c", "type": "function"}]),
    "finish_filtered": _choice(finish_reason="content_filter"),
    "finish_unknown": _choice(finish_reason="tired"),
    "finish_null": _choice(finish_reason=None),
    "prompt_blocked": _top("gemini", candidates=None, promptFeedback={"blockReason": "SAFETY"}),
    "candidates_missing": _envelope(lambda good: good.pop("candidates"), "gemini"),
    "candidates_empty": _top("gemini", candidates=[]),
    "candidate_without_content": _top("gemini", candidates=[{"finishReason": "STOP"}]),
    "finish_safety": _top("gemini", candidates=[{"finishReason": "SAFETY", "index": 0}]),
    "finish_recitation": _top("gemini", candidates=[{"finishReason": "RECITATION", "index": 0}]),
    "finish_new": _candidate(finishReason="TIRED"),
    "parts_empty": _parts(),
    "parts_missing": _candidate(content={"role": "model"}),
    "parts_call": _parts({"functionCall": {"name": "f", "args": {}}}),
    "parts_thought_only": _parts({"text": "Let me see", "thought": True}),
    "parts_wrong_type": _parts({"text": {"entities": []}}),
    "parts_split": _envelope(_split, "gemini"),
    "usage_empty": _top("gemini", usageMetadata={}),
    "usage_too_large": _top("gemini", usageMetadata={"promptTokenCount": 10**30}),
    "usage_text": _top("gemini", usageMetadata={"promptTokenCount": "many"}),
    # --- content: the protocol is well, the model's words are not
    "truncated": _content(lambda good: good[: len(good) * 2 // 3]),
    "fenced": _content(lambda good: f"```json\n{good}\n```"),
    "fenced_in_prose": _content(lambda good: f"Sure!\n\n```\n{good}\n```\nAnything else?"),
    "prose_around": _content(lambda good: f"Here is the answer: {good} I hope this helps."),
    "thought": _content(lambda good: f"{_THOUGHT}</think>\n\n{good}"),
    "thought_unclosed": _says(_THOUGHT),
    "control_chars": _content(lambda good: f"\x00\x08{good[:-1]}\x1f\x7f\x85{good[-1:]}"),
    "raw_newline_in_string": _says('{"entities": [{"quote": "a\nb\tc", "label": "DISEASE"}]}'),
    "byte_order_mark": _content(lambda good: "\ufeff" + good),
    "wrong_labels": _parsed(_relabel),
    "wrong_types": _parsed(_mistype),
    "answer_null": _parsed(lambda good: _values(good, None)),
    "answer_string": _parsed(lambda good: _values(good, "aspirin, metformin")),
    "top_list": _parsed(lambda good: [good]),
    "top_number": _says("42"),
    "top_null": _says("null"),
    "encoded_twice": _content(json.dumps),
    "python_dict": _content(lambda good: repr(json.loads(good)).replace("None", "nil")),
    "trailing_comma": _content(lambda good: good[:-1] + "," + good[-1:]),
    "two_answers": _content(lambda good: f"{good}\n{good}"),
    "unknown_keys": _parsed(lambda good: {**_values(good, []), "mood": "fine"}),
    "missing_keys": _says("{}"),
    "duplicate_keys": _says('{"entities": [], "entities": [{"quote": "x", "quote": 3}]}'),
    "prose": _says("The patient takes some medicine, I believe."),
    "empty": _says(""),
    "blank": _says(" \n\t\n"),
    "nonsense_10mb": _says("banana {[ " * 1_000_000),
    "endless_entities": _says(json.dumps({"entities": [_ENTITY] * 50_000})),
    "long_quote": _says(json.dumps({"entities": [{**_ENTITY, "quote": "the " * 100_000}]})),
    "empty_quote": _says(json.dumps({"entities": [{**_ENTITY, "quote": ""}]})),
    "invented_quote": _says(json.dumps({"entities": [{**_ENTITY, "quote": "xyzzy plugh"}]})),
    "deep": _says('{"entities": ' + "[" * 100_000),
    "deep_closed": _says('{"entities": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "huge_number": _says('{"entities": [{"quote": 1e99999, "label": ' + "9" * 5000 + "}]}"),
    "not_a_number": _says('{"entities": [{"quote": NaN, "label": -Infinity}]}'),
    "lone_surrogate": _says('{"entities": [{"quote": "\\ud800", "label": "DISEASE", "left": ""}]}'),
    "raw_surrogate": _says('{"entities": [{"quote": "\udfff", "label": "DISEASE", "left": ""}]}'),
    "null_char": _says('{"entities": [{"quote": "a\\u0000b", "label": "DISEASE", "left": ""}]}'),
}
