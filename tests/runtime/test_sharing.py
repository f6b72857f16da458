"""How threads are shared out among workers, asked for or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.runtime import sharing
from clin_edge.runtime.sharing import MOST_WORKERS, share_out

COUNTS = st.none() | st.integers(1, 64)


@pytest.mark.parametrize(
    ("threads", "expected"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (40, (8, 5))],
)
def test_where_nobody_asks_for_workers_there_is_one_for_two_threads(
    threads: int, expected: tuple[int, int], monkeypatch
) -> None:
    assert share_out(None, threads) == expected
    monkeypatch.setattr(sharing, "usable_threads", lambda: threads)
    assert share_out(None, None) == expected


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(0, None, (0, 8)), (0, 3, (0, 3)), (3, None, (3, 2)), (16, None, (16, 1)), (4, 5, (4, 5))],
)
def test_what_was_asked_for_is_given(
    workers: int, threads: int | None, expected: tuple[int, int], monkeypatch
) -> None:
    monkeypatch.setattr(sharing, "usable_threads", lambda: 8)
    assert share_out(workers, threads) == expected


@given(COUNTS)
def test_threads_are_neither_invented_nor_left_over(threads: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "usable_threads", lambda: 6)
        workers, each = share_out(None, threads)
    assert 1 <= workers <= MOST_WORKERS
    assert workers * each <= (threads or 6) < workers * (each + 1)
