"""Windows of many notes, grouped by length, so that little is padding.

The length a window is padded to depends on the window alone, never on its neighbours: so its
answer does not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BUCKET_TOKENS = 16
BATCH_TOKENS = 512

Logits = NDArray[np.float32]  # (B, T, C), one score a tag; rows beyond the mask mean nothing


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B windows of one bucket: ``input_ids`` and ``attention_mask``, both (B, T) int64.

    ``rows[b]`` is the place of row b's window in the sequence that was batched.

    Raises:
        ValueError: If shapes disagree.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse shapes that disagree."""
        shape = self.input_ids.shape
        if len(shape) != 2 or self.attention_mask.shape != shape or len(self.rows) != shape[0]:
            raise ValueError(f"a batch needs (B, T) ids and mask and B rows, got {shape}")


Pending = Callable[[], Logits]
"""Waits for the logits of a batch that is under way."""


class Session(Protocol):
    """What runs the network: OpenVINO, onnxruntime, or torch while training.

    Attributes:
        at_once: How many batches are under way at most: 1 if ``start`` answers before it returns.
    """

    at_once: int = 1

    def run(self, batch: Batch) -> Logits:
        """Give the logits (B, T, C) of a batch; real tokens' rows do not depend on padding."""
        ...

    def start(self, batch: Batch) -> Pending:
        """Begin with a batch; call what is given, once, to have its logits (B, T, C)."""
        logits = self.run(batch)
        return lambda: logits


def bucket_length(length: int, *, longest: int) -> int:
    """Round a window's length up to its bucket, at most ``longest``.

    >>> bucket_length(17, longest=256), bucket_length(250, longest=250)
    (32, 250)
    """
    return min(-(-length // BUCKET_TOKENS) * BUCKET_TOKENS, max(longest, length))


def batches(
    windows: Sequence[NDArray[np.int64]], *, longest: int, pad_id: int, batch_tokens: int
) -> Iterator[Batch]:
    """Pack windows (T,) into batches of one bucket each, at most ``batch_tokens`` with padding.

    A window that alone exceeds the budget goes alone. Longest buckets come first, so that memory
    reaches its peak at once. A batch has a power of two of rows: engines keep a plan and buffers
    for every shape they meet, and so they meet few.
    """
    buckets: dict[int, list[int]] = {}
    for i, ids in enumerate(windows):
        buckets.setdefault(bucket_length(len(ids), longest=longest), []).append(i)
    for length in sorted(buckets, reverse=True):
        for rows in _powers_of_two(buckets[length], at_most=max(1, batch_tokens // length)):
            yield pad([windows[i] for i in rows], rows=rows, length=length, pad_id=pad_id)


def pad(
    windows: Sequence[NDArray[np.int64]], *, rows: Iterable[int], length: int, pad_id: int
) -> Batch:
    """Lay windows (T,) into one batch of width ``length``."""
    input_ids = np.full((len(windows), length), pad_id, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    for b, ids in enumerate(windows):
        input_ids[b, : len(ids)] = ids
        mask[b, : len(ids)] = 1
    return Batch(input_ids, mask, tuple(rows))


def _powers_of_two(items: list[int], *, at_most: int) -> Iterator[list[int]]:
    start = 0
    while start < len(items):
        size = 1 << (min(at_most, len(items) - start).bit_length() - 1)
        yield items[start : start + size]
        start += size
