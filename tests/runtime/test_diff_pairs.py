"""Spans of two answers: each in one place, as many pairs as there can be, the same both ways."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from clin_edge.core.spans import Entity
from clin_edge.runtime.diff_pairs import Pair, pair_spans
from score_cases import Place, entities, some_entities

Side = Sequence[Entity]
MANY = settings(max_examples=100)


def sides(*, overlapping: bool) -> SearchStrategy[tuple[list[Entity], list[Entity]]]:
    """Two answers to one note."""
    return st.tuples(*[some_entities(overlapping=overlapping)] * 2)


ANY = st.one_of(sides(overlapping=True), sides(overlapping=False))


def places(side: Side) -> set[Place]:
    return {(e.span.start, e.span.end, e.label) for e in side}


def overlap(one: Place, other: Place) -> bool:
    return bool({*range(one[0], one[1])} & {*range(other[0], other[1])})


def most_pairs(olds: set[Place], news: set[Place], *, one_label: bool) -> int:
    """How many pairs can be made at most: every way is tried."""
    if not olds:
        return 0
    first, *rest = olds
    best = most_pairs(set(rest), news, one_label=one_label)
    for new in news:
        if overlap(first, new) and (first[2] == new[2]) == one_label:
            best = max(best, 1 + most_pairs(set(rest), news - {new}, one_label=one_label))
    return best


@MANY
@given(ANY)
def test_every_span_is_in_one_place_and_every_pair_is_what_it_is_called(both) -> None:
    olds, news = map(places, both)
    pairs = pair_spans(*both)
    paired = [*zip(pairs.same, pairs.same, strict=True), *pairs.moved, *pairs.relabelled]
    assert Counter([old for old, _ in paired] + pairs.lost) == Counter(olds)
    assert Counter([new for _, new in paired] + pairs.gained) == Counter(news)
    assert set(pairs.same) == olds & news
    for old, new in pairs.moved:
        assert overlap(old, new)
        assert old[2] == new[2]
        assert old[:2] != new[:2]
    for old, new in pairs.relabelled:
        assert overlap(old, new)
        assert old[2] != new[2]
    assert not any(overlap(*pair) for pair in itertools.product(pairs.lost, pairs.gained))


@MANY
@given(sides(overlapping=False))
def test_there_are_as_many_pairs_as_can_be_made(both) -> None:
    olds, news = map(places, both)
    pairs = pair_spans(*both)
    olds, news = olds - set(pairs.same), news - set(pairs.same)
    assert len(pairs.moved) == most_pairs(olds, news, one_label=True)
    olds -= {old for old, _ in pairs.moved}
    news -= {new for _, new in pairs.moved}
    assert len(pairs.relabelled) == most_pairs(olds, news, one_label=False)


@MANY
@given(ANY)
def test_exchanging_the_sides_exchanges_lost_and_gained_and_keeps_the_pairs(both) -> None:
    there, back = pair_spans(*both), pair_spans(*reversed(both))
    assert (there.same, there.lost, there.gained) == (back.same, back.gained, back.lost)
    for ours, theirs in ((there.moved, back.moved), (there.relabelled, back.relabelled)):
        assert set(ours) == {(old, new) for new, old in theirs}


@given(some_entities(overlapping=True), st.randoms(use_true_random=False))
def test_what_is_the_same_is_the_same_in_any_order(side: list[Entity], order) -> None:
    shuffled = order.sample(side, len(side))
    pairs = pair_spans(side, shuffled)
    assert pairs.same == sorted(places(side))
    assert [pairs.moved, pairs.relabelled, pairs.lost, pairs.gained] == [[]] * 4


OLD_PAIN = (0, 10, "SYMPTOM")
CASES: dict[str, tuple[list[Place], list[Place], list[Pair], list[Pair], list[Place]]] = {
    # old, new, moved, relabelled, gained
    "other borders": ([OLD_PAIN], [(3, 10, "SYMPTOM")], [(OLD_PAIN, (3, 10, "SYMPTOM"))], [], []),
    "other label": ([OLD_PAIN], [(0, 10, "DISEASE")], [], [(OLD_PAIN, (0, 10, "DISEASE"))], []),
    "both": ([OLD_PAIN], [(3, 12, "DISEASE")], [], [(OLD_PAIN, (3, 12, "DISEASE"))], []),
    "side by side": ([], [(10, 12, "SYMPTOM")], [], [], [(10, 12, "SYMPTOM")]),
    "a label kept comes before a place kept": (
        [OLD_PAIN],
        [(0, 9, "DISEASE"), (9, 10, "SYMPTOM")],
        [(OLD_PAIN, (9, 10, "SYMPTOM"))],
        [],
        [(0, 9, "DISEASE")],
    ),
    "cut in two": (
        [OLD_PAIN],
        [(0, 5, "SYMPTOM"), (5, 10, "SYMPTOM")],
        [(OLD_PAIN, (0, 5, "SYMPTOM"))],
        [],
        [(5, 10, "SYMPTOM")],
    ),
    "two pairs come before one that shares more": (
        [(0, 2, "ADE"), (3, 8, "ADE")],
        [(1, 6, "ADE"), (7, 9, "ADE")],
        [((0, 2, "ADE"), (1, 6, "ADE")), ((3, 8, "ADE"), (7, 9, "ADE"))],
        [],
        [],
    ),
    "found twice is found once": ([], [(1, 2, "ADE"), (1, 2, "ADE")], [], [], [(1, 2, "ADE")]),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs_made_by_hand(name: str) -> None:
    old, new, moved, relabelled, gained = CASES[name]
    pairs = pair_spans(entities(*old), entities(*new))
    assert (pairs.moved, pairs.relabelled, pairs.gained) == (moved, relabelled, gained)
    assert (pairs.same, pairs.lost) == ([], [])
