"""What grounding drops at once, and how long the worst answers take."""

from __future__ import annotations

from time import process_time

import pytest

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.ground import (
    MAX_PLACES,
    MAX_QUOTE_CHARS,
    Grounded,
    Mention,
    ground,
)


def spans(found: Grounded) -> list[Span]:
    """Where the entities stand."""
    return [entity.span for entity in found.entities]


def test_a_quote_without_a_letter_or_digit_is_empty() -> None:
    for quote in ("", " \n", "--", "\u00ad", "()", "%", "\u0301", "🙂"):
        assert ground(f"a {quote} b", [Mention(quote, "X")]).dropped == {"empty": 1}


def test_a_quote_may_be_so_long_and_no_longer() -> None:
    text = "x" * MAX_QUOTE_CHARS
    assert spans(ground(text, [Mention(text, "X")])) == [Span(0, MAX_QUOTE_CHARS)]
    assert ground(text, [Mention(text + "x", "X")]).dropped == {"too long": 1}


def test_reasons() -> None:
    dropped = ground("Takes HALDOL.", [Mention("HA", "X"), Mention("aspirin", "X")]).dropped
    assert dropped == {"only inside a word": 1, "not in the text": 1}
    assert "metformin" not in repr(Mention("metformin", "X", "metformin"))


@pytest.mark.parametrize("unit", ["a", "a ", "ba ", "abcdefg ", "1.", "(", "e\u0301"])
def test_hostile_answers_take_seconds_not_hours(unit: str) -> None:
    text = unit * (60_000 // len(unit))
    mentions = [Mention((unit * 400)[i % 7 : 400 - i % 90], "X", unit * 9) for i in range(200)]
    mentions += [Mention(mention.quote[:-1] + "q", "X", unit * 9) for mention in mentions[:100]]
    started = process_time()
    found = ground(text, mentions, occurrences="all")
    assert process_time() - started < 5
    assert found.placed.total() + found.dropped.total() == len(mentions)


def test_a_quote_at_too_many_places_is_ambiguous() -> None:
    text = "a " * (MAX_PLACES + 1)
    assert ground(text, [Mention("a", "X")] * 3).dropped == {"ambiguous": 3}
    few = ground(text[:-2], [Mention("a", "X")] * MAX_PLACES)
    assert few.placed == {"exact": MAX_PLACES}
