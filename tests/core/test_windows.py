"""The window plan, against its promises one by one."""

from __future__ import annotations

import time
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from clin_edge.core.windows import Window, paragraph_starts, plan_passages, plan_windows

Plan = tuple[int, int, int]


@st.composite
def plans(draw: DrawFn) -> Plan:
    """Tokens, size and overlap; small ones, and those of real models."""
    size = draw(st.integers(1, 40) | st.sampled_from([126, 254, 510]))
    return draw(st.integers(0, 6 * size)), size, draw(st.integers(0, size - 1))


def planned(plan: Plan) -> list[Window]:
    n_tokens, size, overlap = plan
    return plan_windows(n_tokens, size=size, overlap=overlap)


@given(plans())
@example((0, 1, 0))
@example((510, 254, 64))
def test_every_token_is_kept_exactly_once(plan: Plan) -> None:
    kept = [i for w in planned(plan) for i in range(w.keep_start, w.keep_end)]
    assert kept == list(range(plan[0]))


@given(plans())
def test_no_window_is_longer_than_the_size_and_all_are_equally_long(plan: Plan) -> None:
    n_tokens, size, _ = plan
    lengths = {w.end - w.start for w in planned(plan)}
    assert len(lengths) == (n_tokens > 0)
    assert all(length <= size for length in lengths)


@given(plans())
def test_neighbours_share_at_least_the_overlap_and_cover_the_note(plan: Plan) -> None:
    n_tokens, _, overlap = plan
    windows = planned(plan)
    for a, b in pairwise(windows):
        assert a.start < b.start
        assert a.end - b.start >= overlap
    if windows:
        assert (windows[0].start, windows[-1].end) == (0, n_tokens)


@given(plans())
def test_there_are_no_fewer_windows_that_would_do(plan: Plan) -> None:
    """Full windows, each as far to the right as the overlap lets it, are the fewest there are."""
    n_tokens, size, overlap = plan
    fewest, end = (1, size) if n_tokens else (0, 0)
    while end < n_tokens:
        fewest, end = fewest + 1, end - overlap + size
    assert len(planned(plan)) == fewest


@given(plans())
def test_the_window_that_keeps_a_token_sees_it_with_most_context(plan: Plan) -> None:
    """On the token's poorer side, and but for one token where windows cannot meet in the middle."""
    windows = planned(plan)

    def poorer(w: Window, token: int) -> int:
        return min(token - w.start, w.end - 1 - token)

    for w in windows:
        for token in range(w.keep_start, w.keep_end):
            best = max(poorer(v, token) for v in windows if v.start <= token < v.end)
            assert poorer(w, token) >= best - 1


@pytest.mark.parametrize(
    ("n_tokens", "size", "overlap"), [(5, 0, 0), (5, -1, 0), (5, 4, 4), (5, 4, -1), (-1, 4, 1)]
)
def test_a_plan_that_cannot_be_is_refused(n_tokens: int, size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="need n_tokens >= 0"):
        plan_windows(n_tokens, size=size, overlap=overlap)


@pytest.mark.parametrize(
    "bad", [(-1, 4, 0, 4), (0, 4, 0, 0), (0, 4, 3, 2), (2, 4, 1, 4), (0, 4, 0, 5), (4, 0, 0, 1)]
)
def test_a_window_keeps_part_of_what_it_reads(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="a window keeps part of what it reads"):
        Window(*bad)


def test_paragraphs_begin_after_blank_lines_and_with_headers() -> None:
    text = "HPI: pain\nfor days\n \nALLERGIES: none\nMeds: aspirin\n- PRN: rest\r\n\r\nEnd\n\n\nx"
    begun = [text[start:].split()[0] for start in paragraph_starts(text)]
    assert begun == ["ALLERGIES:", "Meds:", "End", "x"]


@pytest.mark.parametrize(
    "hostile", ["\n" * 300_000, "\n " * 200_000, "\nA" * 200_000, "\t" * 400_000]
)
def test_paragraphs_are_found_in_linear_time(hostile: str) -> None:
    started = time.process_time()
    paragraph_starts(hostile)
    assert time.process_time() - started < 2


@given(
    st.lists(st.integers(1, 60), max_size=12),
    st.integers(2, 30),
    st.integers(0, 6),
    st.integers(0, 20),
)
def test_passages_are_covered_once_each(
    lengths: list[int], size: int, overlap: int, least: int
) -> None:
    overlap = min(overlap, size - 1)
    starts = list(accumulate(lengths, initial=0))
    n_tokens = starts.pop()
    windows = plan_passages(starts, n_tokens, size=size, overlap=overlap, least=least)
    kept = [i for w in windows for i in range(w.keep_start, w.keep_end)]
    assert kept == list(range(n_tokens))
    assert all(w.end - w.start <= size for w in windows)
    # The oracle: paragraphs are gathered until they are enough.
    passages, gathered = [], 0
    for length in lengths:
        gathered += length
        if least and gathered >= least:
            passages.append(gathered)
            gathered = 0
    if gathered:
        passages.append(gathered)
    bounds = set(accumulate(passages, initial=0))
    assert all(not any(w.start < b < w.end for b in bounds) for w in windows)
    assert bounds <= {0, *(w.keep_end for w in windows)}


@given(st.lists(st.integers(1, 60), max_size=8), st.lists(st.integers(1, 60), max_size=8))
def test_after_a_paragraph_of_enough_tokens_all_goes_on_as_in_any_other_note(
    one: list[int], other: list[int]
) -> None:
    same = [25, 7, 40, 3, 9, 31]

    def tail(before: list[int]) -> list[tuple[int, int]]:
        starts = list(accumulate(before + same, initial=0))
        n_tokens = starts.pop()
        windows = plan_passages(starts, n_tokens, size=30, overlap=5, least=20)
        at = sum(before) + same[0]
        return [(w.start - at, w.end - at) for w in windows if w.start >= at]

    assert tail(one) == tail(other)
