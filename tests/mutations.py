"""Files changed in a few places: their bytes, or the values of the JSON in them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

EXTREMES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 127, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30),
    *(-(2**31), -(2**63), 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *(None, True, False, "", "\0", "\ud800", "é", "a" * 5000, "../x", "O", "(a+)+$", "[", "\\p{L}"),
    *([], {}, [[]], [None], {"": ""}, {"type": "Sequence"}, [0] * 300),
)
NUMBERS = tuple(json.dumps(value).encode() for value in EXTREMES if isinstance(value, int | float))
NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def mutated(rng: random.Random, seeds: Sequence[bytes], *, structured: bool) -> bytes:
    """Change one of ``seeds`` in one to four places; if ``structured``, values of its JSON too."""
    raw = rng.choice(seeds)
    if structured and rng.random() < 0.6:
        raw = b"".join(_restructured(rng, line) for line in _documents(raw))
        if rng.random() < 0.7:
            return raw
    for _ in range(rng.choice((1, 1, 2, 4))):
        raw = _rewritten(rng, raw, seeds)
    return raw


def _documents(raw: bytes) -> list[bytes]:
    """One JSON document, or the lines of JSONL."""
    return [raw] if raw.startswith(b"{\n") or raw.count(b"\n") < 2 else raw.splitlines()


def _rewritten(rng: random.Random, raw: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change bytes, whatever they mean."""
    at = rng.randrange(len(raw) + 1)
    length = rng.choice((1, 1, 2, 4, 16, 200))
    match rng.randrange(8):
        case 0 if at < len(raw):
            return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
        case 1:
            return raw[:at] + rng.randbytes(length) + raw[at + length :]
        case 2:
            return raw[:at] + raw[at + length :]
        case 3:
            return raw[:at]
        case 4:
            return raw[:at] + raw[at : at + length] * rng.choice((2, 3, 50)) + raw[at + length :]
        case 5:
            other = rng.choice(seeds)
            return raw[:at] + other[rng.randrange(len(other)) :]
        case 6:
            return raw[:at] + rng.choice(NUMBERS) + raw[at:]
        case _:
            found = NUMBER.search(raw, at)
            if not found:
                return (
                    raw[:at]
                    + rng.choice((b"[" * 5000, b'{"a":' * 5000, b"\x00", b"\xff"))
                    + raw[at:]
                )
            return raw[: found.start()] + rng.choice(NUMBERS) + raw[found.end() :]


def _restructured(rng: random.Random, raw: bytes) -> bytes:
    """Change JSON values, so that what comes out is JSON still."""
    document = deepcopy(_parsed(raw))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            break
        parent, key = rng.choice(places)
        value = parent[key]
        match rng.randrange(7):
            case 0 | 1:
                parent[key] = deepcopy(rng.choice(EXTREMES))
            case 2:
                del parent[key]
            case 3:
                other, name = rng.choice(places)
                parent[key] = deepcopy(other[name])
            case 4 if isinstance(value, str) and value:
                cut = rng.randrange(len(value))
                parent[key] = value[:cut] + rng.choice(("", "é", "\0", "A", "/")) + value[cut + 1 :]
            case 5 if isinstance(value, list):
                parent[key] = value * rng.choice((2, 40))
            case _:
                for _ in range(rng.choice((1, 5, 100))):
                    value = [value]
                parent[key] = value
    return json.dumps(document, ensure_ascii=rng.random() < 0.9).encode(
        "utf-8", "surrogatepass"
    ) + (b"\n")


@cache
def _parsed(raw: bytes) -> Any:
    return json.loads(raw)


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    """Every place in a document, as what holds it and the key there."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
