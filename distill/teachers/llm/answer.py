"""What a language model answered, read as mentions; or the reason why it cannot be."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from clin_edge.distill.grounding.ground import Mention

MAX_ANSWER_CHARS = 400_000
MAX_MENTIONS = 5_000
_THOUGHT_TAG = re.compile(r"<(/?)(think|thinking|reasoning)>", re.IGNORECASE)
_OPENING = re.compile(r"[{\[]")
_MAX_OPENINGS = 50
_ASIDE_CHARS = 10  # brackets in the words around the answer break off this soon
_BROKEN = "cut off or broken JSON"
# Ours first; then what models write that were not held to a schema.
_KEYS = (("quote", "text"), ("label", "type"), ("near", "context"))
_DECODER = json.JSONDecoder(strict=False)  # control characters inside strings are let through


class BrokenAnswer(Exception):
    """An answer that cannot be read; the message is a reason without any of its text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The mentions of one answer, and how many entries were none, by reason."""

    mentions: tuple[Mention, ...]
    dropped: Counter[str]


def read_answer(text: str, labels: Collection[str]) -> Answer:
    """Read ``{"entities": [{"quote", "label", "near"}]}``, or the bare list.

    ``text``, ``type`` and ``context`` are understood for these. Code fences, thoughts in
    ``<think>`` tags and words around the JSON are passed over. An entry without quote or label, or
    of a label not asked for, is dropped and counted; labels are compared without case.

    Raises:
        BrokenAnswer: If there is no such JSON, it is cut off or too long, or no entry is usable.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise BrokenAnswer("answer too long")
    text = _without_thoughts(text)
    if not text.strip():
        raise BrokenAnswer("empty answer")
    entries = _entries(text)
    if len(entries) > MAX_MENTIONS:
        raise BrokenAnswer("too many entities")
    asked = {label.casefold(): label for label in labels}
    mentions: list[Mention] = []
    dropped: Counter[str] = Counter()
    for entry in entries:
        quote, label, near = _fields(entry)
        if quote is None or label is None:
            dropped["entry without quote and label"] += 1
        elif label.strip().casefold() not in asked:
            dropped["label not asked for"] += 1
        else:
            mentions.append(Mention(quote, asked[label.strip().casefold()], near))
    if entries and not mentions:
        raise BrokenAnswer("no entry with a quote and a label asked for")
    return Answer(tuple(mentions), dropped)


def _without_thoughts(text: str) -> str:
    said: list[str] = []
    at, thinking = 0, ""
    for tag in _THOUGHT_TAG.finditer(text):
        closes, name = bool(tag[1]), tag[2].lower()
        if not thinking and not closes:
            said.append(text[at : tag.start()])
            thinking = name
        elif closes and thinking in ("", name):  # some servers leave the opening tag out
            at, thinking = tag.end(), ""
    if thinking:
        raise BrokenAnswer("thought without an answer")
    return "".join([*said, text[at:]])


def _entries(text: str) -> list[object]:
    """Give the list of entities of the first JSON object that has one, else the bare list."""
    bare: list[object] | None = None
    n_values = at = 0
    for n_before in range(_MAX_OPENINGS):
        opened = _OPENING.search(text, at)
        if opened is None:
            break
        try:
            value, at = _DECODER.raw_decode(text, opened.start())
        except json.JSONDecodeError as error:
            if error.pos - opened.start() > _ASIDE_CHARS:
                raise BrokenAnswer(_BROKEN) from None  # what is whole inside it is not the answer
            at = opened.end()
            continue
        except (ValueError, RecursionError):  # a number or a nesting beyond reason
            raise BrokenAnswer(_BROKEN) from None
        n_values += 1
        if isinstance(value, dict) and isinstance(value.get("entities"), list):
            return list(value["entities"])
        if isinstance(value, list) and not n_before:
            bare = value
    if bare is not None:
        return bare
    if n_values:
        raise BrokenAnswer("JSON without a list of entities")
    raise BrokenAnswer(_BROKEN if "{" in text or "[" in text else "no JSON")


def _fields(entry: object) -> tuple[str | None, str | None, str]:
    if not isinstance(entry, dict):
        return None, None, ""
    quote, label, near = (
        next((entry[key] for key in keys if isinstance(entry.get(key), str)), None)
        for keys in _KEYS
    )
    return quote, label, near or ""
