"""What holds of context whatever the note is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from clin_edge.core.spans import Span
from clin_edge.runtime.context import assertions
from clin_edge.runtime.context_rules import CATEGORIES, load_rules
from clin_edge.runtime.context_sections import sentences
from strategies import spans, texts

PIECES = (
    *("no ", "denies ", "without ", "but ", "not ruled out ", "is negative ", "r/o ", "? ", "if "),
    *(
        "h/o ",
        "possible ",
        "mother with ",
        "resolved",
        "prn ",
        "no change in ",
        "return for:",
        "- ",
    ),
    *("fever", "chest pain", "cough", ", ", " or ", ". ", "; ", ": ", " (", ") ", "Dr. ", "1. "),
    *("FH: ", "FAMILY HISTORY:", "PMH: ", "Plan:", "\n", "\n\n", "  \n", "HTN", "b.i.d. ", "mg. "),
)


def clinical(max_pieces: int = 25) -> SearchStrategy[str]:
    return st.lists(st.sampled_from(PIECES), min_size=1, max_size=max_pieces).map("".join)


@st.composite
def texts_with_spans(draw: DrawFn, min_size: int = 1) -> tuple[str, list[Span]]:
    text = draw(st.one_of(clinical(), texts())) or "x"
    return text, draw(st.lists(spans(len(text)), min_size=min_size, max_size=6))


@given(texts_with_spans(min_size=0))
def test_every_span_gets_one_of_the_values(case: tuple[str, list[Span]]) -> None:
    text, some = case
    values = assertions(text, some)
    assert len(values) == len(some)
    assert set(values) <= set(CATEGORIES)


@given(texts_with_spans(), st.randoms(use_true_random=False))
def test_a_value_depends_on_the_text_and_its_span_alone(
    case: tuple[str, list[Span]], random: st.Random
) -> None:
    text, some = case
    alone = [assertions(text, [span])[0] for span in some]
    assert assertions(text, some) == alone
    order = random.sample(range(len(some)), len(some))
    assert assertions(text, [some[i] for i in order]) == [alone[i] for i in order]


@given(texts_with_spans(), texts(), texts())
def test_another_paragraph_changes_nothing(
    case: tuple[str, list[Span]], before: str, after: str
) -> None:
    text, some = case
    # No headings, and nothing that begins or ends like a line of this paragraph.
    start = (
        "Tall man. " + before.replace(":", " ").replace("\n", " ").replace("\r", " ") + " Ok.\n\n"
    )
    moved = [Span(span.start + len(start), span.end + len(start)) for span in some]
    assert assertions(start + text + "\n\n" + after, moved) == assertions(text, some)


@given(texts_with_spans())
def test_line_ends_of_either_kind_are_the_same(case: tuple[str, list[Span]]) -> None:
    text, some = case
    text = text.replace("\r", " ")
    moved = [
        Span(span.start + text.count("\n", 0, span.start), span.end + text.count("\n", 0, span.end))
        for span in some
    ]
    assert assertions(text.replace("\n", "\r\n"), moved) == assertions(text, some)


@given(st.one_of(clinical(60), texts()))
def test_sentences_leave_nothing_out(text: str) -> None:
    at = 0
    for start, end, default in sentences(text, load_rules()):
        assert start == at < end
        assert default in ("", *CATEGORIES)
        at = end
    assert at == len(text)


def test_a_sentence_without_end_is_cut() -> None:
    text = "word " * 10_000 + "x" * 10_000
    assert max(end - start for start, end, _ in sentences(text, load_rules())) <= 4000


LONG: dict[str, Callable[[int], str]] = {
    "one word": lambda n: "x" * n,
    "line breaks": lambda n: "\n" * n,
    "short lines": lambda n: "a\n" * (n // 2),
    "blank lines": lambda n: " \n" * (n // 2),
    "headings": lambda n: "FH:\n" * (n // 4),
    "one line": lambda n: "no fever and cough " * (n // 19),
    "sentences": lambda n: "No fever. " * (n // 10),
    "phrases": lambda n: "no " * (n // 3),
    "half phrases": lambda n: "history of present " * (n // 19),
    "blanks": lambda n: " " * n,
    "full stops": lambda n: "." * n,
    "abbreviations": lambda n: "mg. " * (n // 4),
    "list marks": lambda n: "- " * (n // 2),
    "apostrophes": lambda n: "a'" * (n // 2),
    "accents": lambda n: "\u0301" * n,
    "colons": lambda n: "a:" * (n // 2),
    "commas": lambda n: "no a,\n" * (n // 6),
}


@pytest.mark.parametrize("shape", LONG)
def test_time_grows_with_the_text_and_no_faster(shape: str) -> None:
    small, large = 10_000, 80_000
    seconds_small = min(_seconds(LONG[shape](small), 1000) for _ in range(3))
    seconds_large = min(_seconds(LONG[shape](large), 1000) for _ in range(2))
    assert seconds_large < 4 * (large // small) * max(seconds_small, 0.002)


def test_time_grows_with_the_entities_and_no_faster() -> None:
    text = "no fever and cough " * 4_000
    some = [Span(i, i + 5) for i in range(0, 72_000, 9)]
    few = min(_seconds(text, len(text) // 1_000) for _ in range(3))
    started = time.process_time()
    assertions(text, some)
    assert time.process_time() - started < 5 * 8 * max(few, 0.002)


def _seconds(text: str, step: int) -> float:
    some = [Span(i, i + 1) for i in range(0, len(text), step)]
    load_rules()
    started = time.process_time()
    assertions(text, some)
    return time.process_time() - started
