"""Long notes in chunks: everything covered, in order, cut where sentences end."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clin_edge.core.spans import Span
from clin_edge.distill.sentences import sentence_starts
from clin_edge.distill.teachers.llm.chunks import cut
from strategies import texts

SENTENCES = (
    *("Chest pain since May. ", "No fever! ", "He takes 2.5 mg q.d. ", "PLAN:\n", "1. Aspirin.\n"),
    *(
        "\n\n",
        "HISTORY: Dr. Smith saw him.\r\n\r\n",
        "- item\n",
        "no end here ",
        "x" * 50,
        "\n",
        " ",
    ),
)
NOTES = st.one_of(
    texts(60), st.lists(st.sampled_from(SENTENCES), max_size=60).map("".join), st.just("")
)
LIMITS = st.integers(2, 200).flatmap(
    lambda most: st.tuples(st.just(most), st.integers(0, most - 1))
)


def sentences(text: str) -> list[Span]:
    starts = sentence_starts(text)[0]
    return [Span(a, b) for a, b in pairwise([*starts, len(text)]) if a < b]


@given(NOTES, LIMITS)
def test_chunks_cover_the_text_in_order(text: str, limits: tuple[int, int]) -> None:
    max_chars, overlap_chars = limits
    chunks = cut(text, max_chars=max_chars, overlap_chars=overlap_chars)
    assert "".join(text[c.start : c.end][p:] for c, p in seams(chunks)) == text
    for before, after in pairwise(chunks):
        assert before.start < after.start <= before.end < after.end
        assert before.end - after.start <= overlap_chars


def seams(chunks: list[Span]) -> list[tuple[Span, int]]:
    """Give each chunk with how much of it the one before has already."""
    ends = [0, *(chunk.end for chunk in chunks)]
    return [(c, end - c.start) for c, end in zip(chunks, ends, strict=False)]


@given(NOTES, LIMITS)
@example("aa " * 500, (20, 5))
@example("a" * 500, (20, 5))
def test_they_start_and_end_where_sentences_do(text: str, limits: tuple[int, int]) -> None:
    max_chars, overlap_chars = limits
    chunks = cut(text, max_chars=max_chars, overlap_chars=overlap_chars)
    edges = {0, *sentence_starts(text)[0], len(text)}
    for chunk in chunks:
        assert len(text[chunk.start : chunk.end]) <= 4 * max_chars
        assert chunk.start in edges or chunk.start in {c.end for c in chunks}
        if chunk.end not in edges:
            # The one exception: what has no sentence end in four times as much is no sentence.
            following = next(edge for edge in sorted(edges) if edge > chunk.start)
            assert following - chunk.start > 4 * max_chars
            blanks = [
                i
                for i in range(chunk.start + max_chars, chunk.start + 4 * max_chars)
                if text[i] in " \n"
            ]
            assert chunk.end == (blanks[-1] + 1 if blanks else chunk.start + 4 * max_chars)
        elif chunk.end - chunk.start > max_chars:
            assert not [edge for edge in edges if chunk.start < edge < chunk.end]


@given(NOTES, LIMITS)
def test_every_sentence_that_fits_lies_whole_in_a_chunk(text: str, limits: tuple[int, int]) -> None:
    max_chars, overlap_chars = limits
    chunks = cut(text, max_chars=max_chars, overlap_chars=overlap_chars)
    for sentence in sentences(text):
        if sentence.end - sentence.start <= max_chars:
            assert any(c.start <= sentence.start and sentence.end <= c.end for c in chunks)


@given(NOTES)
def test_a_text_that_fits_is_one_chunk(text: str) -> None:
    whole = [Span(0, len(text))] if text else []
    assert cut(text, max_chars=max(len(text), 2), overlap_chars=1) == whole


def test_a_chunk_ends_with_a_section_if_it_is_half_full() -> None:
    text = "Chest pain today. " * 4 + "\n\nPLAN: Aspirin. " + "He went home. " * 5
    first, *_ = cut(text, max_chars=120, overlap_chars=0)
    assert text[first.end :].startswith("PLAN:")
    short = cut("Pain.\n\nPLAN: " + "He went home. " * 12, max_chars=120, overlap_chars=0)
    assert short[0].end > 100


def test_no_chunk_is_all_overlap() -> None:
    # A chunk that says nothing new would be paid for and answered twice.
    text = "He is well. " * 10 + "a " * 95 + "end. " + "Then he left. " * 20
    chunks = cut(text, max_chars=200, overlap_chars=100)
    assert all(before.end < after.end for before, after in pairwise(chunks))


@pytest.mark.parametrize(("most", "overlap"), [(0, 0), (10, 10), (10, 11), (10, -1), (-1, -2)])
def test_limits_that_cannot_be_kept(most: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap_chars < max_chars"):
        cut("text", max_chars=most, overlap_chars=overlap)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\n",
        ".",
        ". ",
        "A. ",
        "No. ",
        ".\n",
        "1. ",
        "A:\n",
        '."',
        "\r",
        "a\n",
        "Ab. ",
        "(",
        "- \n",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = process_time()
    chunks = cut(text, max_chars=300, overlap_chars=200)
    assert process_time() - started < 5
    assert bisect_right([chunk.end for chunk in chunks], len(text)) == len(chunks)
