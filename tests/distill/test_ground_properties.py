"""Whatever is within the bounds is found at its place, and nothing is placed beyond them.

The oracle below is ``ground``'s docstring by brute force: every span of a short text is compared
with the quote, by rules written again from scratch.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from clin_edge.core.spans import Span
from clin_edge.distill.grounding.ground import Grounded, Mention, ground
from strategies import texts

UNSEEN = "\u00ad\u200b"
SOFT = frozenset("-,/()[]'\"")


def plain(text: str) -> str:
    text = text.replace("\u00ad", "").replace("\u200b", "")
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("\N{EN DASH}", "-")
    text = text.replace("\N{LEFT DOUBLE QUOTATION MARK}", '"')
    text = text.replace("\N{RIGHT DOUBLE QUOTATION MARK}", '"')
    return " ".join(unicodedata.normalize("NFKD", text).casefold().split())


def kind(token: str) -> str:
    return "number" if token[0].isdecimal() else "word" if token[0].isalpha() else "sign"


def tokens_of(text: str) -> tuple[list[str], list[str]]:
    """Cut a plain text into words, numbers and signs, and the gaps around and between them."""
    tokens, gaps, at = [], [""], 0
    while at < len(text):
        word = re.match(r"\d+([.,/]\d+)*|([^\W\d_][\u0300-\u036f]*)+", text[at:])
        if not word and (text[at] == " " or text[at] in SOFT):
            gaps[-1] += text[at]
            at += 1
            continue
        tokens.append(word[0] if word else text[at])
        gaps.append("")
        at += len(tokens[-1])
    return tokens, gaps


def distance(a: str, b: str) -> int:
    """Letters added, missing, replaced, or neighbours swapped, from ``a`` to ``b``."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return distance(a[:-1], b[:-1])
    swapped = len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]
    return 1 + min(
        *(distance(a[:-1], b), distance(a, b[:-1]), distance(a[:-1], b[:-1])),
        distance(a[:-2], b[:-2]) if swapped else 99,
    )


def is_typo(a: str, b: str) -> bool:
    n_letters = min(sum(c.isalpha() for c in word) for word in (a, b))
    return (
        kind(a) == kind(b) == "word"
        and n_letters >= 6
        and a[0] == b[0]
        and abs(len(a) - len(b)) < 2
        and within_one(a, b)
    )


def within_one(a: str, b: str) -> bool:
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return max(len(a), len(b)) <= 2 and distance(a, b) <= 1


def is_soft(gap: str) -> bool:
    inner = gap.removeprefix(" ").removesuffix(" ")
    return len(inner) <= 3 and set(inner) <= SOFT


def same_words(said: str, quoted: str) -> bool:
    (tokens, gaps), (wanted, wanted_gaps) = tokens_of(said), tokens_of(quoted)
    if len(tokens) != len(wanted) or gaps[0] not in ("", wanted_gaps[0]):
        return False
    if gaps[-1] not in ("", wanted_gaps[-1]):
        return False
    different = [(a, b) for a, b in zip(tokens, wanted, strict=True) if a != b]
    if len(different) > max(1, sum(kind(token) == "word" for token in wanted) // 3):
        return False
    for (a, b), gap, other in zip(pairwise(tokens), gaps[1:-1], wanted_gaps[1:-1], strict=True):
        if kind(a) == kind(b) == "number":
            if gap.strip() != other.strip():
                return False
        elif gap != other and not (is_soft(gap) and is_soft(other)):
            return False
    return all(is_typo(a, b) for a, b in different)


def runs(text: str) -> list[tuple[int, int, int]]:
    """Give what must not be cut, from start to end, and where a unit follows a number in it."""
    run = r"(?:(?<![^\W\d_])\.(?=\d))?(?:[^\W_][\u0300-\u036f]*|(?<=\d)[.,/](?=\d))+"
    found = []
    for match in re.finditer(run, text):
        number = re.match(r"[.\d,/]*", match[0])
        found.append((match.start(), match.end(), match.start() + (number.end() if number else 0)))
    return found


def whole_spans(text: str) -> list[Span]:
    """Give all spans that cut nothing and have nothing blank or invisible at their ends."""
    kept = [i for i, c in enumerate(text) if c not in UNSEEN]
    seen = [i for i in kept if not (text[i].isspace() or unicodedata.combining(text[i]))]
    cut = {
        kept[i]
        for start, end, unit in runs("".join(text[i] for i in kept))
        for i in range(start + 1, end)
        if i != unit
    }
    spans = []
    for start in seen:
        for last in seen:
            end = last + 1
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1
            following = next((i for i in kept if i >= end), len(text))
            if start < end and start not in cut and following not in cut:
                spans.append(Span(start, end))
    return spans


def fitting(text: str, quote: str) -> list[list[Span]]:
    """Give the spans that agree with ``quote`` exactly, normalised, and fuzzily."""
    ways: list[list[Span]] = [[], [], []]
    for span in whole_spans(text):
        said = text[span.start : span.end]
        if said == quote:
            ways[0].append(span)
        elif plain(said) == plain(quote):
            ways[1].append(span)
        elif same_words(plain(said), plain(quote)):
            ways[2].append(span)
    # Of fuzzy spans that differ in the signs around the words, the one with most of the quote's.
    ways[2] = [a for a in ways[2] if not any(holds(b, a) for b in ways[2])]
    return ways


def holds(span: Span, other: Span) -> bool:
    return span != other and span.start <= other.start and other.end <= span.end


WORDS = [
    *("fever", "Fever", "fevers", "metformin", "Metformin", "metfromin", "metformi"),
    *("HA", "HALDOL", "DM", "T2DM", "hypertension", "hypotension", "typical", "atypical"),
    *("Sjögren", "Sjo\u0308gren", "Sjogren", "5", "5", "2.5", "25", ".5", "2,5", "mg", "500mg"),
    *("<", ">", "%", "+", "of", "pain"),
]
JOINS = [*(" ",) * 12, "\n", "  "]
JOINS += ["", "-", "\N{EN DASH}", "/", ", ", ". ", " (", ") ", "\u00ad", ": "]


@st.composite
def short_texts(draw: DrawFn, max_words: int) -> str:
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINS)),
            min_size=1,
            max_size=max_words,
        )
    )
    return "".join(word + join for word, join in drawn)


@st.composite
def texts_and_quotes(draw: DrawFn) -> tuple[str, str]:
    """A short text, and words of its own kind or copied from it."""
    text = draw(short_texts(7))
    at = draw(st.integers(0, len(text) - 1))
    copied = text[at : at + draw(st.integers(1, 25))]
    quote = draw(st.one_of(short_texts(3), st.just(copied), st.just(copied.swapcase()))).strip()
    return text, quote


def check(text: str, found: Grounded, n_mentions: int) -> None:
    assert found.placed.total() + found.dropped.total() == n_mentions
    places = [(entity.span, entity.label) for entity in found.entities]
    assert places == sorted(set(places))
    assert all(entity.span.end <= len(text) for entity in found.entities)


@given(texts_and_quotes())
def test_one_mention_is_placed_where_it_must_be_or_not_at_all(drawn: tuple[str, str]) -> None:
    text, quote = drawn
    found = ground(text, [Mention(quote, "X")])
    check(text, found, 1)
    if not any(c.isalnum() for c in quote):
        assert found.dropped == {"empty": 1}
        return
    ways = fitting(text, quote)
    closest = next((spans for spans in ways if spans), [])
    event(f"{len(closest)} places")
    # No words before the quote may also mean the text's start.
    opening = [span for span in closest if not any(c.isalnum() for c in text[: span.start])]
    if len(closest) == 1 or opening:
        assert [entity.span for entity in found.entities] == [closest[0]]
    else:
        assert not found.entities
        reasons = {"ambiguous"} if closest else {"not in the text", "only inside a word"}
        assert set(found.dropped) <= reasons


@given(short_texts(8), st.lists(st.tuples(short_texts(2), short_texts(2), st.booleans())))
def test_many_mentions_are_placed_only_where_the_text_agrees(
    text: str, drawn: list[tuple[str, str, bool]]
) -> None:
    labels = "XY"
    mentions = [Mention(quote, labels[flag], near) for quote, near, flag in drawn]
    found = ground(text, mentions)
    check(text, found, len(mentions))
    assert len(found.entities) == found.placed.total()
    agreeing = {m: {s for way in fitting(text, m.quote.strip()) for s in way} for m in mentions}
    for entity in found.entities:
        assert any(entity.span in agreeing[m] and m.label == entity.label for m in mentions)
    for mention in mentions:
        if len(agreeing[mention]) == 1 and any(c.isalnum() for c in mention.quote):
            (span,) = agreeing[mention]
            assert (span, mention.label) in {(e.span, e.label) for e in found.entities}


@given(
    short_texts(8),
    st.lists(st.tuples(short_texts(2), st.sampled_from(["", "of", "pain of"]), st.booleans())),
    st.randoms(use_true_random=False),
    st.sampled_from(["all", "claimed"]),
)
def test_the_order_of_mentions_does_not_matter(text, drawn, rng, occurrences) -> None:  # type: ignore[no-untyped-def]
    mentions = [Mention(quote, "XY"[flag], near) for quote, near, flag in drawn]
    shuffled = rng.sample(mentions, len(mentions))
    found = ground(text, mentions, occurrences=occurrences)
    assert ground(text, shuffled, occurrences=occurrences) == found


@given(short_texts(8), st.lists(short_texts(2)))
def test_all_occurrences_are_the_claimed_and_every_other_of_the_same_words(
    text: str, quotes: list[str]
) -> None:
    mentions = [Mention(quote, "X") for quote in quotes]
    claimed = ground(text, mentions)
    every = ground(text, mentions, occurrences="all")
    assert (every.placed, every.dropped) == (claimed.placed, claimed.dropped)
    everywhere = {entity.span for entity in every.entities}
    places = {entity.span: entity.source for entity in claimed.entities}
    assert everywhere >= set(places)
    said = {span: plain(text[span.start : span.end]) for span in whole_spans(text)}
    assert {said[span] for span in everywhere - set(places)} <= {plain(quote) for quote in quotes}
    same = {said[span] for span, way in places.items() if way != "/fuzzy"}
    assert {span for span, words in said.items() if words in same} <= everywhere


@given(texts(), st.lists(st.tuples(texts(6), texts(6)), max_size=6))
def test_whatever_is_said_it_is_counted_and_never_fails(
    text: str, drawn: list[tuple[str, str]]
) -> None:
    copied = [Mention(text[i : i + 9], "X", text[:i]) for i in range(0, len(text), 7)]
    mentions = [*copied, *(Mention(quote, "Y", near) for quote, near in drawn)]
    for occurrences in ("claimed", "all"):
        found = ground(text, mentions, occurrences=occurrences)  # type: ignore[arg-type]
        check(text, found, len(mentions))
