"""Batches: every window once, padded to a length that is its own business."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.batching import BUCKET_TOKENS, Batch, batches, bucket_length

PAD = 7
LENGTHS = st.lists(st.integers(1, 60), max_size=30)
LONGEST = st.integers(1, 70)
BUDGET = st.integers(1, 300)


def windows_of(lengths: list[int]) -> list[np.ndarray]:
    """Windows whose ids tell window and place; one of them is the padding id itself."""
    return [1000 * i + np.arange(n, dtype=np.int64) for i, n in enumerate(lengths)]


def batched(lengths: list[int], longest: int, budget: int) -> list[Batch]:
    return list(batches(windows_of(lengths), longest=longest, pad_id=PAD, batch_tokens=budget))


@given(LENGTHS, LONGEST, BUDGET)
def test_every_window_is_in_exactly_one_row_unchanged(lengths, longest, budget) -> None:
    windows = windows_of(lengths)
    done = batched(lengths, longest, budget)
    assert sorted(row for batch in done for row in batch.rows) == list(range(len(lengths)))
    for batch in done:
        for b, row in enumerate(batch.rows):
            n_tokens = lengths[row]
            assert batch.input_ids[b, :n_tokens].tolist() == windows[row].tolist()
            assert (batch.input_ids[b, n_tokens:] == PAD).all()
            assert batch.attention_mask[b].tolist() == [
                int(t < n_tokens) for t in range(batch.input_ids.shape[1])
            ]
        assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64


@given(LENGTHS, LONGEST, BUDGET)
def test_a_window_s_padding_depends_on_its_own_length_alone(lengths, longest, budget) -> None:
    for batch in batched(lengths, longest, budget):
        for row in batch.rows:
            (alone,) = batched([lengths[row]], longest, 1)
            assert batch.input_ids.shape[1] == alone.input_ids.shape[1]


@given(st.integers(1, 600), st.integers(1, 600))
def test_a_bucket_is_the_next_multiple_but_not_beyond_the_longest(length, longest) -> None:
    bucket = bucket_length(length, longest=longest)
    next_multiple = next(n for n in range(length, length + BUCKET_TOKENS) if n % BUCKET_TOKENS == 0)
    assert bucket == (min(next_multiple, longest) if length <= longest else length)


@given(LENGTHS, LONGEST, BUDGET)
def test_a_batch_keeps_the_budget_unless_one_window_alone_exceeds_it(lengths, longest, budget):
    for batch in batched(lengths, longest, budget):
        assert batch.input_ids.size <= budget or len(batch.rows) == 1


@given(LENGTHS, LONGEST, BUDGET)
def test_no_batch_could_have_joined_another_and_the_longest_come_first(lengths, longest, budget):
    done = batched(lengths, longest, budget)
    widths = [batch.input_ids.shape[1] for batch in done]
    assert widths == sorted(widths, reverse=True)
    for a, b in pairwise(done):
        if a.input_ids.shape[1] == b.input_ids.shape[1]:
            assert len(a.rows) >= len(b.rows)
            assert len(a.rows) > len(b.rows) or 2 * a.input_ids.size > budget


@pytest.mark.parametrize(
    ("ids", "mask", "rows"),
    [((2, 3), (2, 4), 2), ((2, 3), (2, 3), 1), ((2, 3), (3, 2), 2), ((6,), (6,), 6)],
)
def test_a_batch_of_shapes_that_disagree_is_refused(ids, mask, rows) -> None:
    with pytest.raises(ValueError, match="a batch needs"):
        Batch(np.zeros(ids, np.int64), np.zeros(mask, np.int64), tuple(range(rows)))


@given(LENGTHS, LONGEST, BUDGET)
def test_a_batch_has_a_power_of_two_of_rows(lengths, longest, budget) -> None:
    for batch in batched(lengths, longest, budget):
        assert len(batch.rows).bit_count() == 1
