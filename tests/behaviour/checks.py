"""Judges what a model finds in the snippets of the behavioural suite.

When one passes, and by which match: docs/behaviour.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from behaviour.suite import Snippet, letters
from clin_edge.core.spans import Entity, alternatives
from clin_edge.runtime.pipeline import Pipeline

FLOORS = Path(__file__).with_name("floors.json")
MATCHES = ("strict", "lenient", "either")
_FINDINGS = frozenset({"DISEASE", "SYMPTOM"})
_ROLES = frozenset({"REASON", "ADE"})


def run(
    pipeline: Pipeline, snippets: Sequence[Snippet], news: Sequence[str], types: Collection[str]
) -> dict[str, Any]:
    """Let a bundle read the suite; give pass rates by kind and capability, and what failed.

    Args:
        pipeline: The bundle.
        snippets: The tests.
        news: Non-clinical text, in which every entity is a false alarm.
        types: The labels to judge, among those of the bundle.
    """
    texts = [text for snippet in snippets for text in snippet.texts]
    read = iter([_kept(entities, types) for _, entities in pipeline.annotate(texts)])
    verdicts: dict[str, dict[str, bool]] = {}
    spans: dict[str, list[dict[str, bool]]] = {}
    absent = marked = 0
    for snippet in snippets:
        found = [next(read) for _ in snippet.texts]
        verdict = judge(snippet, found, types)
        if verdict is not None:
            verdicts[snippet.id] = verdict
        if snippet.kind == "minimum":
            for span in snippet.spans:
                if accepted(span.label, types):
                    hit = {match: is_found(span, found[0], types, match) for match in MATCHES}
                    spans.setdefault(span.label, []).append(hit)
            absent += len(snippet.absent)
            marked += sum(any(e.span.overlaps(span) for e in found[0]) for span in snippet.absent)
    alarms = Counter(
        (entity.label, text[entity.span.start : entity.span.end])
        for text, (_, entities) in zip(news, pipeline.annotate(news), strict=True)
        for entity in _kept(entities, types)
    )
    words = sum(len(text.split()) for text in news)
    judged = [snippet for snippet in snippets if snippet.id in verdicts]
    return {
        "labels": sorted(types),
        "kinds": {
            kind: _rates(verdicts[s.id] for s in judged if s.kind == kind)
            for kind in dict.fromkeys(s.kind for s in judged)
        },
        "capabilities": {
            name: _rates(verdicts[s.id] for s in judged if s.capability == name)
            for name in dict.fromkeys(s.capability for s in judged)
        },
        "spans": {label: _rates(spans[label]) for label in sorted(spans)},
        "absent": {"n": absent, "marked": marked},
        "news": {
            "words": words,
            "alarms": [[label, quote, n] for (label, quote), n in sorted(alarms.items())],
            "per_1000_words": round(1000 * alarms.total() / words, 2),
        },
        "failed": [s.id for s in judged if not verdicts[s.id]["strict"]],
    }


def judge(
    snippet: Snippet, found: Sequence[Sequence[Entity]], types: Collection[str]
) -> dict[str, bool] | None:
    """Say by which of ``MATCHES`` a snippet passed; None if the labels leave nothing to judge.

    Args:
        snippet: The test.
        found: Entities of each of ``snippet.texts``, in text order, with labels of ``types`` only.
        types: The labels to judge.
    """
    expected = [*snippet.spans, *([snippet.change] if snippet.change else [])]
    if not snippet.absent and not any(accepted(one.label, types) for one in expected):
        return None
    passes = {"minimum": _minimum, "invariance": _invariance, "direction": _direction}
    return {match: passes[snippet.kind](snippet, found, types, match) for match in MATCHES}


def accepted(expected: str, types: Collection[str], *, either: bool = False) -> set[str]:
    """Give the labels a model may say where a snippet says ``expected``; none: not judged.

    REASON and ADE are diseases and symptoms in a role, so a model that knows roles may name them.

    >>> sorted(accepted("DISEASE|SYMPTOM", ["MEDICATION", "DISEASE", "ADE"]))
    ['ADE', 'DISEASE']
    """
    known = set(alternatives(expected)).intersection(types)
    if known & _FINDINGS:
        known |= (_ROLES | _FINDINGS if either else _ROLES).intersection(types)
    return known


def is_found(expected: Entity, found: Iterable[Entity], types: Collection[str], match: str) -> bool:
    """Tell whether an entity of an accepted label has the span; leniently, overlaps it."""
    labels = accepted(expected.label, types, either=match == "either")
    return any(
        entity.label in labels
        and (
            entity.span.overlaps(expected.span)
            if match == "lenient"
            else entity.span == expected.span
        )
        for entity in found
    )


def _minimum(
    snippet: Snippet, found: Sequence[Sequence[Entity]], types: Collection[str], match: str
) -> bool:
    judged = [span for span in snippet.spans if accepted(span.label, types)]
    return all(is_found(span, found[0], types, match) for span in judged) and not any(
        entity.span.overlaps(span) for entity in found[0] for span in snippet.absent
    )


def _invariance(
    snippet: Snippet, found: Sequence[Sequence[Entity]], types: Collection[str], match: str
) -> bool:
    base, other = found
    for span in snippet.spans:
        seen = any(entity.span.overlaps(span.span) for entity in base)
        if accepted(span.label, types) and not seen:
            return False
    before = _said(snippet.text, base, match)
    after = _said(snippet.variant, other, match, snippet.respelled)
    if match != "lenient":
        return before == after
    return len(before) == len(after) and all(
        label == label_after and (words in words_after or words_after in words)
        for (label, words), (label_after, words_after) in zip(before, after, strict=True)
    )


def _direction(
    snippet: Snippet, found: Sequence[Sequence[Entity]], types: Collection[str], match: str
) -> bool:
    change = snippet.change
    if change is None:
        raise ValueError(f"{snippet.id}: says no change")
    texts = list(snippet.texts)
    if snippet.removed:
        texts, found = texts[::-1], found[::-1]
    fewer, more = (_said(*pair, match) for pair in zip(texts, found, strict=True))
    places = [at for at, one in enumerate(found[1]) if is_found(change, [one], types, match)]
    if match == "lenient":
        return bool(places) and len(more) == len(fewer) + 1
    return any(more[:at] + more[at + 1 :] == fewer for at in places)


def _said(
    text: str,
    entities: Iterable[Entity],
    match: str,
    respelled: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """Give label and letters of each entity, to be compared between two texts."""
    return [
        (
            "finding" if match == "either" and e.label in _FINDINGS else e.label,
            letters(text[e.span.start : e.span.end], respelled),
        )
        for e in entities
    ]


def _kept(entities: Iterable[Entity], types: Collection[str]) -> list[Entity]:
    return [entity for entity in entities if entity.label in types]


def _rates(verdicts: Iterable[Mapping[str, bool]]) -> dict[str, float]:
    rows = list(verdicts)
    rates = {match: round(sum(row[match] for row in rows) / len(rows), 4) for match in MATCHES}
    return {"n": len(rows), **rates}
