"""Logits to tags: the best path that obeys the label scheme, over the whole note at once.

Windows only bound what the network sees at a time. Their kept logits are laid end to end first,
so an entity that crosses from one window into the next is read as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import Logits
from clin_edge.core.encode import Encoded
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import Entity

_FORBIDDEN = np.float32(-1e30)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give log-probabilities over the last axis, same shape."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return cast(NDArray[np.float32], shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def best_paths(
    scores: NDArray[np.float32], lengths: NDArray[np.intp], scheme: LabelScheme
) -> NDArray[np.intp]:
    """Find for each row the tag sequence of the highest summed score that the scheme allows.

    Viterbi's algorithm over all rows at once. Each row is a sequence of its own and may begin only
    as a note may.

    Args:
        scores: (B, T, C).
        lengths: (B,) real tokens of each row; tags beyond them mean nothing.
        scheme: Says which tag may follow which.

    Returns:
        Tags (B, T).
    """
    n_rows, n_steps, _ = scores.shape
    step_cost = np.where(scheme.allowed, np.float32(0), _FORBIDDEN)
    best = scores[:, 0] + np.where(scheme.allowed_first, np.float32(0), _FORBIDDEN)
    back = np.zeros(scores.shape, dtype=np.int16)
    ends = np.zeros((n_rows, n_steps), dtype=np.intp)
    ends[:, 0] = best.argmax(axis=1)
    for t in range(1, n_steps):
        reach = best[:, :, None] + step_cost
        back[:, t] = reach.argmax(axis=1)
        best = np.take_along_axis(reach, back[:, t, None].astype(np.intp), axis=1)[:, 0]
        best = best + scores[:, t]
        ends[:, t] = best.argmax(axis=1)
    tags = np.zeros((n_rows, n_steps), dtype=np.intp)
    rows = np.arange(n_rows)
    for t in range(n_steps - 1, -1, -1):
        ahead = tags[:, t + 1] if t + 1 < n_steps else tags[:, t]
        from_ahead = back[rows, min(t + 1, n_steps - 1), ahead]
        tags[:, t] = np.where(t == lengths - 1, ends[:, t], from_ahead)
    return tags


def best_path(scores: NDArray[np.float32], scheme: LabelScheme) -> NDArray[np.intp]:
    """Find the best allowed tag sequence (N,) of one note's scores (N, C).

    Exactly Viterbi's answer, but only where it is needed. Without learned transitions the best tag
    of each token alone is nearly always allowed already. So the note is cut where no best path can
    continue an entity, and only pieces that break the scheme are searched. A cut before token r is
    safe if, for every label X, giving up I-X at r (and, when the entity went on, opening it at
    r + 1 with B-X instead) always gains score.
    """
    tags: NDArray[np.intp] = scores.argmax(axis=1)
    if len(tags) == 0 or _obeys(tags, scheme).all():
        return tags
    opens, inside = scores[:, 1::2], scores[:, 2::2]
    loss_next = np.zeros_like(inside)
    loss_next[:-1] = np.maximum(inside[1:] - opens[1:], 0)
    not_inside = np.maximum(scores[:, 0], opens.max(axis=1))
    safe = (not_inside[:, None] - inside > loss_next).all(axis=1)
    safe[0] = True
    piece = np.cumsum(safe) - 1
    starts = np.flatnonzero(safe)
    broken = np.unique(piece[~_obeys(tags, scheme)])
    bounds = np.append(starts, len(tags))
    lengths = (bounds[1:] - bounds[:-1])[broken]
    # Pieces of like length go together: one long piece must not widen all the others.
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order] // 16)) + 1):
        width = int(lengths[group].max())
        padded = np.zeros((len(group), width, scores.shape[1]), dtype=np.float32)
        for row, b in enumerate(group):
            start = bounds[broken[b]]
            padded[row, : lengths[b]] = scores[start : start + lengths[b]]
        for row, path in enumerate(best_paths(padded, lengths[group], scheme)):
            b = group[row]
            start = bounds[broken[b]]
            tags[start : start + lengths[b]] = path[: lengths[b]]
    return tags


def best_whole_words(
    scores: NDArray[np.float32], opens_word: NDArray[np.bool_], scheme: LabelScheme
) -> NDArray[np.intp]:
    """Find the best allowed tag sequence (N,) of those that cut no word.

    The pieces of a word bear one label together or none: the first may open it, the others go on.
    A word's score for a tag is the sum of its pieces', so this too is Viterbi's answer.

    Args:
        scores: (N, C).
        opens_word: (N,), false for a token that goes on with the word of the one before.
        scheme: Says which tag may follow which.
    """
    if opens_word.all():
        return best_path(scores, scheme)
    first = opens_word.copy()
    first[0] = True
    begins = np.flatnonzero(first)
    words: NDArray[np.float32] = np.add.reduceat(scores, begins)
    # A word that opens an entity: B on its first piece, I on the others.
    words[:, 1::2] = words[:, 2::2] + scores[begins, 1::2] - scores[begins, 2::2]
    tags: NDArray[np.intp] = best_path(words, scheme)[np.cumsum(first) - 1]
    tags[~first & (tags % 2 == 1)] += 1  # B goes on as I
    return tags


def _obeys(tags: NDArray[np.intp], scheme: LabelScheme) -> NDArray[np.bool_]:
    """Tell for each tag (N,) whether it may stand after the one before it."""
    obeys: NDArray[np.bool_] = np.empty(len(tags), dtype=bool)
    obeys[0] = scheme.allowed_first[tags[0]]
    obeys[1:] = scheme.allowed[tags[:-1], tags[1:]]
    return obeys


def stitch(encoded: Encoded, kept: Sequence[Logits], n_tags: int) -> NDArray[np.float32]:
    """Lay the logits that each window keeps (K, C) end to end: one row a token of the note (N, C).

    Raises:
        ValueError: If a window's rows are missing or too many.
    """
    for window, rows in zip(encoded.windows, kept, strict=True):
        if rows.shape != (window.keep_end - window.keep_start, n_tags):
            raise ValueError(f"a window that keeps {window} gave rows of shape {rows.shape}")
    return np.concatenate(kept) if kept else np.empty((0, n_tags), dtype=np.float32)


def read_entities(
    encoded: Encoded, logits: NDArray[np.float32], scheme: LabelScheme
) -> list[Entity]:
    """Read a note's entities out of its logits (N, C), in text order.

    An entity is as sure as its least sure token: its score is the lowest probability, over its
    tokens, of the tag on the best path.
    """
    scores = log_softmax(logits)
    tags = best_whole_words(scores, encoded.opens_word, scheme)
    chosen = np.exp(scores[np.arange(len(tags)), tags])
    return [
        Entity(span, label, min(float(chosen[tokens].min()), 1.0))
        for span, label, tokens in scheme.spans(tags, encoded.offsets)
    ]
