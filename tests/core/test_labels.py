"""The label scheme: which tags there are, which may follow which, and spans to tags and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from clin_edge.core.labels import LabelScheme, claim_tokens, spans_to_tags
from clin_edge.core.spans import Entity, Span
from strategies import apart, spans, token_offsets

SCHEME = LabelScheme(("MEDICATION", "DISEASE"))
TAGS = ("O", "B-MEDICATION", "I-MEDICATION", "B-DISEASE", "I-DISEASE")


def as_offsets(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def test_tags_are_outside_then_begin_and_inside_of_each_label() -> None:
    assert SCHEME.tags == TAGS
    assert SCHEME.index == dict(zip(TAGS, range(5), strict=True))


def test_inside_follows_only_begin_and_inside_of_its_own_label() -> None:
    for a, before in enumerate(TAGS):
        for b, after in enumerate(TAGS):
            may = not after.startswith("I-") or before in (f"B-{after[2:]}", f"I-{after[2:]}")
            assert SCHEME.allowed[a, b] == may, (before, after)
        assert SCHEME.allowed_first[a] == (not before.startswith("I-")), before


@pytest.mark.parametrize(
    "types", [(), ("",), ("A", "A"), ("A B",), ("A\n",), ("A\u00a0",), ("A|B",), ("A", "|")]
)
def test_labels_that_cannot_be_tags_are_refused(types: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="label"):
        LabelScheme(types)


def test_a_tagging_we_do_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="'BILOU' is not known; expected 'BIO'"):
        LabelScheme(("A",), "BILOU")


def spans_one_by_one(
    tags: list[int], offsets: list[tuple[int, int]]
) -> list[tuple[Span, str, slice]]:
    """The rule for reading tags, one token after another."""
    open_, done = None, []
    for i, name in enumerate(TAGS[t] for t in tags):
        if name.startswith("I-") and open_ and open_[0] == name[2:]:
            open_[2] = i
            continue
        done += [open_] if open_ else []
        open_ = None if name == "O" else [name[2:], i, i]
    done += [open_] if open_ else []
    return [
        (Span(offsets[a][0], offsets[b][1]), label, slice(a, b + 1))
        for label, a, b in done
        if offsets[a][0] < offsets[b][1]
    ]


@given(token_offsets(), st.data())
def test_any_tags_are_read_as_the_rule_says(offsets: list[tuple[int, int]], data) -> None:
    """Also tags that break the scheme: an I that continues nothing opens a span."""
    n_tokens = len(offsets)
    tags = data.draw(st.lists(st.integers(0, 4), min_size=n_tokens, max_size=n_tokens))
    found = SCHEME.spans(np.array(tags, dtype=np.intp), as_offsets(offsets))
    assert found == spans_one_by_one(tags, offsets)


def test_a_token_without_characters_is_no_span_by_itself() -> None:
    tags = np.array([1, 3, 0, 1, 2])
    offsets = as_offsets([(0, 0), (0, 2), (2, 4), (5, 5), (5, 6)])
    found = SCHEME.spans(tags, offsets)
    assert [(span, label) for span, label, _ in found] == [
        (Span(0, 2), "DISEASE"),
        (Span(5, 6), "MEDICATION"),
    ]


@st.composite
def aligned(draw: DrawFn) -> tuple[list[tuple[int, int]], list[Entity]]:
    """Tokens, and entities that begin and end where tokens do and do not overlap."""
    offsets, label = draw(token_offsets()), st.sampled_from(SCHEME.types)
    entities = [
        Entity(Span(offsets[run.start][0], offsets[run.end - 1][1]), draw(label))
        for run in draw(apart(len(offsets)))
    ]
    return offsets, entities


@given(aligned(), st.randoms(use_true_random=False))
def test_tags_and_spans_are_exact_inverses(case, random) -> None:
    """Two entities of one label that touch stay two."""
    offsets, entities = case
    shuffled = random.sample(entities, len(entities))
    tags = spans_to_tags(shuffled, as_offsets(offsets), SCHEME)
    found = SCHEME.spans(tags, as_offsets(offsets))
    assert [Entity(span, label) for span, label, _ in found] == entities
    again = spans_to_tags([Entity(s, lab) for s, lab, _ in found], as_offsets(offsets), SCHEME)
    assert again.tolist() == tags.tolist()
    steps = zip([0, *tags.tolist()], tags.tolist(), strict=False)
    assert all(SCHEME.allowed[a, b] for a, b in steps)


def claims_one_by_one(
    entities: list[Entity], offsets: list[tuple[int, int]]
) -> tuple[list[int], list[bool]]:
    """The overlap rule with sets of characters: the longer first, then the earlier, all or none."""
    claims, opens = [-1] * len(offsets), [False] * len(offsets)
    order = sorted(range(len(entities)), key=lambda i: entities[i].span.start)
    order.sort(key=lambda i: entities[i].span.start - entities[i].span.end)
    for i in order:
        chars = set(range(entities[i].span.start, entities[i].span.end))
        mine = [t for t, (start, end) in enumerate(offsets) if chars & set(range(start, end))]
        if mine and all(claims[t] == -1 for t in mine):
            for t in mine:
                claims[t] = i
            opens[mine[0]] = True
    return claims, opens


@given(token_offsets(max_size=10), st.data())
def test_overlapping_entities_claim_tokens_as_the_rule_says(offsets, data) -> None:
    n_chars = max([end for _, end in offsets], default=0) + 2
    drawn = data.draw(st.lists(spans(n_chars), max_size=6))
    entities = [Entity(span, data.draw(st.sampled_from(SCHEME.types))) for span in drawn]
    claims, opens = claim_tokens(entities, as_offsets(offsets))
    assert (claims.tolist(), opens.tolist()) == claims_one_by_one(entities, offsets)
    tags = spans_to_tags(entities, as_offsets(offsets), SCHEME)
    names = [
        "O" if c == -1 else f"{'B' if o else 'I'}-{entities[c].label}"
        for c, o in zip(claims, opens, strict=True)
    ]
    assert [TAGS[t] for t in tags] == names


def test_half_an_entity_is_not_taught() -> None:
    """The longer entity keeps its tokens; the shorter one's other half stays outside."""
    entities = [Entity(Span(0, 7), "DISEASE"), Entity(Span(4, 13), "MEDICATION")]
    offsets = as_offsets([(0, 3), (4, 7), (8, 10), (10, 13)])
    tags = spans_to_tags(entities, offsets, SCHEME)
    assert [TAGS[t] for t in tags] == ["O", "B-MEDICATION", "I-MEDICATION", "I-MEDICATION"]


def test_of_two_equally_long_entities_the_earlier_claims_its_tokens() -> None:
    later, earlier = Entity(Span(4, 10), "MEDICATION"), Entity(Span(0, 6), "DISEASE")
    tags = spans_to_tags([later, earlier], as_offsets([(0, 3), (4, 6), (7, 10)]), SCHEME)
    assert [TAGS[t] for t in tags] == ["B-DISEASE", "I-DISEASE", "O"]


def test_characters_cut_into_several_tokens_belong_together() -> None:
    """A byte-level tokenizer gives one emoji four tokens with the same place."""
    offsets = as_offsets([(0, 1), (0, 1), (0, 1), (2, 2), (2, 3)])
    tags = spans_to_tags([Entity(Span(0, 3), "DISEASE")], offsets, SCHEME)
    assert [TAGS[t] for t in tags] == ["B-DISEASE"] + ["I-DISEASE"] * 4
    assert SCHEME.spans(tags, offsets) == [(Span(0, 3), "DISEASE", slice(0, 5))]


@pytest.mark.parametrize("label", ["ROUTE", "DISEASE|MEDICATION"])
def test_a_label_the_scheme_does_not_have_is_refused(label: str) -> None:
    with pytest.raises(KeyError):
        spans_to_tags([Entity(Span(0, 1), label)], as_offsets([(0, 1)]), SCHEME)
