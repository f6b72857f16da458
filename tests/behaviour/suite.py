"""The snippets of the behavioural suite, and the strict reader of them.

What a snippet is and what a span is: docs/behaviour.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.core.strict_json import read_json
from clin_edge.distill import config

HERE = Path(__file__).parent
SNIPPETS = HERE / "snippets"
NEWS = HERE / "news.txt"
KINDS = ("minimum", "invariance", "direction")
LABELS = frozenset(config.LABELS)
_ALWAYS = {"id", "kind", "capability", "text"}
_KEYS = {
    "minimum": {"spans", "absent"},
    "invariance": {"spans", "variant", "respelled"},
    "direction": {"variant", "added", "removed"},
}


@dataclass(frozen=True, slots=True)
class Snippet:
    """One test of the suite.

    ``respelled`` maps words of ``variant`` to the words of ``text`` they stand for. ``change`` is
    the entity that ``variant`` has more than ``text``, or less if ``removed``.

    Raises:
        ValueError: If the fields do not make a test of this kind.
    """

    id: str
    kind: str
    capability: str
    text: str
    spans: tuple[Entity, ...] = ()
    absent: tuple[Span, ...] = ()
    variant: str = ""
    respelled: Mapping[str, str] = field(default_factory=dict)
    change: Entity | None = None
    removed: bool = False

    def __post_init__(self) -> None:
        """Refuse a test that tests nothing, or a variant that is not one."""
        if self.kind == "minimum" and not (self.spans or self.absent):
            raise ValueError("expects nothing: it needs spans, or quotes that must be absent")
        if self.kind != "minimum" and (not self.variant or self.variant == self.text):
            raise ValueError("needs a variant that is not the text itself")
        if self.kind == "direction" and self.change is None:
            raise ValueError("needs what is added or what is removed")
        if self.kind == "invariance":
            if not self.spans:
                raise ValueError("needs a span that the text must be found to hold")
            for word in self.respelled:
                if not re.search(_whole(word), self.variant):
                    raise ValueError(f"the respelled {word!r} is no word of the variant")
            if letters(self.variant, self.respelled) != letters(self.text):
                raise ValueError("the variant's words are not the text's: list those respelled")

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts a model must read: one, or two."""
        return (self.text, self.variant) if self.variant else (self.text,)


def read_snippets(folder: Path = SNIPPETS) -> list[Snippet]:
    """Read every ``*.jsonl`` of a folder, by name.

    Raises:
        InputError: With file, line and id, if a line is no snippet, a quote does not occur in its
            text (or occurs often and does not say which is meant), or an id comes twice.
    """
    snippets: dict[str, Snippet] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                snippet = _snippet(read_json(line))
                if snippet.id in snippets:
                    raise ValueError(f"the id {snippet.id!r} came before")
            except ValueError as error:
                raise InputError(f"{path.name}:{number}: {error}") from None
            snippets[snippet.id] = snippet
    return list(snippets.values())


def read_news(path: Path = NEWS) -> list[str]:
    """Read the pieces of non-clinical text; a line of hyphens stands between two."""
    return [piece.strip() for piece in re.split(r"^-+$", path.read_text("utf-8"), flags=re.M)]


def letters(text: str, respelled: Mapping[str, str] | None = None) -> str:
    """Give a text's letters and digits alone, in lower case, after words are put right.

    >>> letters("- ASPRIN 81mg", {"ASPRIN": "aspirin"})
    'aspirin81mg'
    """
    if respelled:
        longest_first = sorted(respelled, key=len, reverse=True)
        any_word = "|".join(_whole(word) for word in longest_first)
        text = re.sub(any_word, lambda match: respelled[match[0]], text)
    return re.sub(r"[\W_]+", "", text).casefold()


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def _snippet(row: object) -> Snippet:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError("expected an object with an id")
    try:
        return _checked(row)
    except (TypeError, ValueError) as error:
        raise ValueError(f"(id {row['id']!r}) {error}") from None


def _checked(row: dict[str, Any]) -> Snippet:
    kind = row.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    for key in _ALWAYS:
        if not isinstance(row.get(key), str) or not row[key]:
            raise ValueError(f"{key!r} must be a text")
    if unknown := set(row) - _ALWAYS - _KEYS[kind]:
        raise ValueError(f"{', '.join(sorted(unknown))}: not a key of this kind")
    text, variant = row["text"], row.get("variant", "")
    if {"added", "removed"} <= set(row):
        raise ValueError("either something is added or something is removed")
    change = None
    if "added" in row or "removed" in row:
        change = _entity(*((variant, row["added"]) if "added" in row else (text, row["removed"])))
    return Snippet(
        id=row["id"],
        kind=kind,
        capability=row["capability"],
        text=text,
        spans=tuple(_entity(text, item) for item in row.get("spans", ())),
        absent=tuple(_place(text, *item) for item in row.get("absent", ())),
        variant=variant,
        respelled=row.get("respelled", {}),
        change=change,
        removed="removed" in row,
    )


def _entity(text: str, item: Sequence[Any]) -> Entity:
    label, *where = item
    if unknown := set(alternatives(label)) - LABELS:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such label")
    return Entity(_place(text, *where), label)


def _place(text: str, quote: str, occurrence: int = 0) -> Span:
    """Find a quote; ``occurrence`` counts from 1 and is needed where there are several."""
    places = [match.start() for match in re.finditer(re.escape(quote), text)]
    if not quote.strip() or not places:
        raise ValueError(f"{quote!r} does not occur")
    if not occurrence and len(places) > 1:
        raise ValueError(f"{quote!r} occurs {len(places)} times: say which is meant")
    if not 0 <= occurrence <= len(places):
        raise ValueError(f"{quote!r} occurs only {len(places)} times")
    start = places[max(occurrence, 1) - 1]
    return Span(start, start + len(quote))
