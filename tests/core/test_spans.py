"""Spans and entities refuse bad values when they are made."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.spans import Entity, Span, alternatives
from strategies import spans


@given(st.integers(-3, 6), st.integers(-3, 6))
def test_a_span_is_never_empty_reversed_or_before_the_text(start: int, end: int) -> None:
    if 0 <= start < end:
        assert (Span(start, end).start, Span(start, end).end) == (start, end)
    else:
        with pytest.raises(ValueError, match=r"span needs 0 <= start < end, got \["):
            Span(start, end)


@given(spans(8), spans(8))
def test_spans_overlap_when_they_share_a_character(one: Span, other: Span) -> None:
    shared = set(range(one.start, one.end)) & set(range(other.start, other.end))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)


def test_spans_sort_in_text_order_shorter_first() -> None:
    assert sorted([Span(2, 3), Span(0, 9), Span(0, 2)]) == [Span(0, 2), Span(0, 9), Span(2, 3)]


@pytest.mark.parametrize("label", ["", "|", "A|", "|A", "A||B"])
def test_an_entity_needs_a_label(label: str) -> None:
    with pytest.raises(ValueError, match="an entity needs a label"):
        Entity(Span(0, 1), label)


@pytest.mark.parametrize("score", [-0.001, 1.001, float("nan"), float("inf")])
def test_a_score_lies_between_0_and_1(score: float) -> None:
    with pytest.raises(ValueError, match=r"a score lies in \[0, 1\]"):
        Entity(Span(0, 1), "A", score)


def test_a_person_s_label_is_certain_and_both_ends_of_the_scale_are_scores() -> None:
    assert Entity(Span(0, 1), "A").score == 1.0
    assert [Entity(Span(0, 1), "A", score).score for score in (0.0, 1.0)] == [0.0, 1.0]


def test_spans_and_entities_cannot_be_changed() -> None:
    for made, name in ((Span(0, 1), "end"), (Entity(Span(0, 1), "A"), "label")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, 5)


@pytest.mark.parametrize(
    ("label", "meant"), [("A", ("A",)), ("A|B", ("A", "B")), ("A|B|C", ("A", "B", "C"))]
)
def test_a_bar_means_one_of_these(label: str, meant: tuple[str, ...]) -> None:
    assert alternatives(label) == meant
