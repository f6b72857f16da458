"""Other ways to write a term's name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

_OF = re.compile(r"\s+of\s+(?:the\s+)?", re.IGNORECASE)
_ENDINGS = (
    ("ension", "ensive"),
    ("epsy", "eptic"),
    ("osis", "otic"),
    ("rrhage", "rrhagic"),
    ("toxicity", "toxic"),
    ("emia", "emic"),
    ("kinesia", "kinetic"),
    ("phrenia", "phrenic"),
    ("lepsy", "leptic"),
    ("convulsion", "convulsive"),
    ("diabetes", "diabetic"),
    ("mania", "manic"),
    ("plegia", "plegic"),
    ("psychosis", "psychotic"),
    ("parkinsonism", "parkinsonian"),
)


def common_heads(names: Iterable[str], at_least: int = 2) -> frozenset[str]:
    """Give the words ``X`` of the names ``X of Y`` that come so often."""
    found: Counter[str] = Counter()
    for name in names:
        parts = _OF.split(name)
        if len(parts) == 2 and parts[0].isalpha():
            found[parts[0].casefold()] += 1
    return frozenset(word for word, count in found.items() if count >= at_least)


def spellings(name: str, heads: frozenset[str]) -> Iterator[str]:
    """Yield the name, then its other word orders, each once.

    ``renal failure, chronic`` is ``chronic renal failure`` too; ``cancer of the breast`` is
    ``breast cancer``; and ``breast cancer`` is ``cancer of [the] breast`` if ``cancer`` is among
    ``heads``.

    >>> list(spellings("breast cancer", frozenset({"cancer"})))
    ['breast cancer', 'cancer of breast', 'cancer of the breast']
    >>> list(spellings("Renal Failure, Chronic", frozenset()))
    ['Renal Failure, Chronic', 'Chronic Renal Failure']
    """
    found = [name]
    parts = name.split(", ")
    if 1 < len(parts) < 4 and all(parts):
        found.append(" ".join(reversed(parts)))
    found += _turned(found[-1], heads)
    yield from dict.fromkeys(found)


def _turned(name: str, heads: frozenset[str]) -> list[str]:
    parts = _OF.split(name)
    if len(parts) == 2 and all(parts) and len(parts[0].split()) == 1 and "," not in name:
        return [f"{parts[1]} {parts[0]}"]
    *first, last = name.split() or [""]
    if 0 < len(first) < 4 and len(parts) == 1 and last.casefold() in heads:
        rest = " ".join(first)
        return [f"{last} of {rest}", f"{last} of the {rest}"]
    return []


def adjective(name: str) -> str | None:
    """Give the adjective of a disease's one-word name, or nothing.

    >>> adjective("hypertension"), adjective("nephrotoxicity"), adjective("gout")
    ('hypertensive', 'nephrotoxic', None)
    """
    if not name.isalpha():
        return None
    folded = name.casefold()
    for noun, ending in _ENDINGS:
        if folded.endswith(noun):
            return folded[: -len(noun)] + ending
    return None
