"""JSON that says the same to every reader: what two readers could take differently is refused."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

MAX_DEPTH = 32
_MAX_DIGITS = 18  # any number so long fits in 64 bits
# Controls but tab and line feed, what turns the direction of text, and halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_json(raw: bytes) -> Any:
    """Read UTF-8 JSON in which no key comes twice.

    Numbers are finite, whole ones have at most 18 digits, nesting goes at most ``MAX_DEPTH`` deep
    and strings hold no control characters but tab and line feed.

    Raises:
        ValueError: If it is anything else; the message is one short line.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    _check(value, 0)
    return value


def brief(value: object) -> str:
    """Show a value of unknown size and content within one short line.

    >>> brief("a" * 99)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        again, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {brief(again)} comes twice")
    return fields


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError("a number out of range")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def _check(value: object, depth: int) -> None:
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        if _UNSAFE.search(value):
            raise ValueError("a control character in a string")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check(key, depth + 1)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)
