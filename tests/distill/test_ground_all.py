"""Grounding with ``occurrences="all"``: every place of a quote but those inside a longer one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.ground import Grounded, Mention, ground

TEXT = "Lung cancer in 2003. The cancer came back; cancer of the lung. Lung Cancer."


def marked(found: Grounded, text: str = TEXT) -> list[tuple[int, str]]:
    """Where entities start, and what they say."""
    return [(e.span.start, text[e.span.start : e.span.end]) for e in found.entities]


def test_nothing_has_to_tell_places_apart_that_are_all_marked() -> None:
    claimed = ground(TEXT, [Mention("cancer", "X")])
    assert (claimed.entities, claimed.dropped) == ((), {"ambiguous": 1})
    every = ground(TEXT, [Mention("cancer", "X")], occurrences="all")
    assert marked(every) == [(5, "cancer"), (25, "cancer"), (43, "cancer"), (68, "Cancer")]
    assert (every.placed, every.dropped) == ({"exact": 1}, {})


def test_a_place_inside_a_longer_entity_is_left_out() -> None:
    mentions = [Mention("Lung cancer", "DISEASE"), Mention("cancer", "DISEASE", "back")]
    assert marked(ground(TEXT, mentions, occurrences="all")) == [
        *((0, "Lung cancer"), (25, "cancer"), (43, "cancer"), (63, "Lung Cancer"))
    ]


def test_but_not_where_it_was_claimed() -> None:
    mentions = [Mention("Lung cancer", "DISEASE"), Mention("cancer", "OTHER", "Lung")]
    found = ground("Lung cancer, no other cancer", mentions, occurrences="all")
    assert [(e.span.start, e.label) for e in found.entities] == [
        *((0, "DISEASE"), (5, "OTHER"), (22, "OTHER"))
    ]


def test_two_labels_of_one_place_are_both_kept() -> None:
    mentions = [Mention("cancer", "A", "The"), Mention("cancer", "B", "The")]
    found = ground("The cancer; cancer", mentions, occurrences="all")
    assert [(e.span.start, e.label) for e in found.entities] == [
        *((4, "A"), (4, "B"), (12, "A"), (12, "B"))
    ]


def test_what_is_only_like_the_quote_still_has_to_be_told_apart() -> None:
    found = ground("No metforman or metformen", [Mention("metformin", "X")], occurrences="all")
    assert (found.entities, found.dropped) == ((), {"ambiguous": 1})


WORDS = st.lists(st.sampled_from(["lung", "Lung", "cancer", "no", ",", "back"]), max_size=14)
QUOTES = st.sampled_from(["lung", "cancer", "lung cancer", "cancer back", "no"])
MENTIONS = st.lists(
    st.builds(Mention, QUOTES, st.sampled_from("XY"), st.sampled_from(["", "no", "lung", "back"]))
)


@given(WORDS, MENTIONS)
def test_all_is_what_is_claimed_and_every_other_place_that_no_longer_one_holds(
    said: list[str], mentions: list[Mention]
) -> None:
    text = " ".join(said)
    claimed = {(e.span, e.label) for e in ground(text, mentions).entities}
    found = ground(text, mentions, occurrences="all")
    every = {(e.span, e.label) for e in found.entities}
    assert found.placed.total() + found.dropped.total() == len(mentions)
    assert "ambiguous" not in found.dropped
    anywhere = {
        (Span(at, at + len(m.quote)), m.label)
        for m in mentions
        for at in range(len(text))
        if f" {text} ".casefold().startswith(f" {m.quote} ".casefold(), at)
    }
    longest = {
        (span, label)
        for span, label in anywhere
        if not any(o != span and o.start <= span.start and span.end <= o.end for o, _ in anywhere)
    }
    assert every == claimed | longest
