"""Logits to tags: the best path that obeys the label scheme, over the whole note at once.

Windows only bound what the network sees at a time. Their kept logits are laid end to end first,
so an entity that crosses from one window into the next is read as one. Notes are decoded many at a
time, since calling numpy costs more than what one note gives it to do: they stand one after
another in every array, ``starts`` (B,) says where each begins, and no path leads over a start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import Logits
from clin_edge.core.encode import Encoded
from clin_edge.core.labels import LabelScheme
from clin_edge.core.lattice import Lattice
from clin_edge.core.spans import Entity

F = TypeVar("F", np.float32, np.float64)

_FORBIDDEN = np.float32(-1e30)
_REACH = 16  # tokens to either side of what breaks the scheme, where cuts are looked for
_ONE_NOTE = np.zeros(1, dtype=np.intp)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give log-probabilities over the last axis, same shape."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return cast(NDArray[np.float32], shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def best_path(
    scores: NDArray[np.float32], scheme: LabelScheme, starts: NDArray[np.intp] = _ONE_NOTE
) -> NDArray[np.intp]:
    """Find the best allowed tag sequence (N,) of scores (N, C), of each note by itself.

    Exactly Viterbi's answer, but only where it is needed. Without learned transitions the best tag
    of each token alone is nearly always allowed already. So a note is cut where no best path can
    continue an entity, and only pieces that break the scheme are searched. A cut before token r is
    safe if, for every label X, giving up I-X at r (and, when the entity went on, opening it at
    r + 1 with B-X instead) always gains score. Cuts are looked for only near what breaks it.
    """
    tags: NDArray[np.intp] = scores.argmax(axis=1)
    if len(tags) == 0:
        return tags
    obeys = np.empty(len(tags), dtype=bool)
    obeys[1:] = scheme.allowed[tags[:-1], tags[1:]]
    obeys[starts] = scheme.allowed_first[tags[starts]]
    if obeys.all():
        return tags
    ends_note = np.zeros(len(tags), dtype=bool)
    ends_note[starts - 1] = True  # the last note's too: starts[0] is 0
    around = np.flatnonzero(~obeys)[:, None] + np.arange(-_REACH, _REACH + 1)
    safe = np.zeros(len(tags), dtype=bool)
    safe[around.clip(0, len(tags) - 1)] = True
    near = np.flatnonzero(safe)
    here, after = scores[near], scores[np.minimum(near + 1, len(tags) - 1)]
    loss_next = np.maximum(after[:, 2::2] - after[:, 1::2], 0)
    loss_next[ends_note[near]] = 0
    not_inside = np.maximum(here[:, 0], here[:, 1::2].max(axis=1))
    safe[near] = (not_inside[:, None] - here[:, 2::2] > loss_next).all(axis=1)
    safe[starts] = True
    piece = np.cumsum(safe) - 1
    in_broken = np.zeros(piece[-1] + 1, dtype=bool)
    in_broken[piece[~obeys]] = True
    lengths = np.bincount(piece)[in_broken]
    searched = in_broken[piece]
    chains = scores[searched].T.copy()
    first = np.where(scheme.allowed_first, np.float32(0), _FORBIDDEN)
    chains[:, np.cumsum(lengths) - lengths] += first[:, None]
    steps = np.where(scheme.allowed, np.float32(0), _FORBIDDEN)[:, :, None]
    kinds = np.zeros(chains.shape[1], dtype=np.intp)
    tags[searched] = Lattice(chains, lengths, steps, kinds).best_paths()
    return tags


def best_whole_words(
    scores: NDArray[np.float32],
    opens_word: NDArray[np.bool_],
    scheme: LabelScheme,
    starts: NDArray[np.intp] = _ONE_NOTE,
) -> NDArray[np.intp]:
    """Find the best allowed tag sequence (N,) of those that cut no word, of each note by itself.

    The pieces of a word bear one label together or none: the first may open it, the others go on.
    A word's score for a tag is the sum of its pieces', so this too is Viterbi's answer.

    Args:
        scores: (N, C).
        opens_word: (N,), false for a token that goes on with the word of the one before.
        scheme: Says which tag may follow which.
        starts: Where notes begin (B,), ascending from 0.
    """
    first = opens_word.copy()
    first[starts] = True
    begins = np.flatnonzero(first)
    path = best_path(word_scores(scores, begins), scheme, np.searchsorted(begins, starts))
    return tags_of_pieces(path, first)


def word_scores(scores: NDArray[F], begins: NDArray[np.intp]) -> NDArray[F]:
    """Add up the scores (N, C) of each word's pieces for each tag the word may bear (W, C).

    A word that opens an entity has B on its first piece and I on the others.

    Args:
        scores: Of the pieces.
        begins: The first piece of each word (W,), ascending from 0.
    """
    words: NDArray[F] = scores[begins]
    lengths = np.diff(begins, append=len(scores))
    several = lengths > 1  # of few words, and only their scores must be added up
    n_pieces = lengths[several]
    pieces = scores[np.repeat(several, lengths)]
    summed = np.add.reduceat(pieces, np.cumsum(n_pieces) - n_pieces)
    summed[:, 1::2] = summed[:, 2::2] + words[several, 1::2] - words[several, 2::2]
    words[several] = summed
    return words


def tags_of_pieces(tags: NDArray[np.intp], first: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Spread the tags of words over their pieces (N,): B goes on as I.

    ``first`` (N,) tells which pieces begin a word.
    """
    spread: NDArray[np.intp] = tags[np.cumsum(first) - 1]
    spread[~first & (spread % 2 == 1)] += 1
    return spread


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
    notes: Sequence[tuple[Encoded, Logits]], scheme: LabelScheme
) -> list[list[Entity]]:
    """Read the entities of notes out of their logits (N, C), each note's in text order.

    An entity is as sure as its least sure token: its score is the lowest probability, over its
    tokens, of the tag on the best path. What is found in a note does not depend on the others.
    """
    found: list[list[Entity]] = [[] for _ in notes]
    ends = np.cumsum([len(rows) for _, rows in notes], dtype=np.intp)
    if not len(ends) or not ends[-1]:
        return found
    logits = np.concatenate([rows for _, rows in notes])
    offsets = np.concatenate([encoded.offsets for encoded, _ in notes])
    opens_word = np.concatenate([encoded.opens_word for encoded, _ in notes])
    starts = np.unique(np.append(0, ends[:-1]))  # empty notes have none
    starts = starts[starts < ends[-1]]
    tags = best_whole_words(logits, opens_word, scheme, starts)
    spans = scheme.spans(tags, offsets)
    if not spans:
        return found
    chances = np.ones(len(tags) + 1, dtype=np.float32)
    inside = np.flatnonzero(tags)
    chances[inside] = np.exp(log_softmax(logits[inside])[np.arange(len(inside)), tags[inside]])
    bounds = np.array([(tokens.start, tokens.stop) for _, _, tokens in spans])
    scores = np.minimum(np.minimum.reduceat(chances, bounds.reshape(-1))[::2], 1).tolist()
    of_note = np.searchsorted(ends, bounds[:, 0], side="right").tolist()
    for (span, label, _), score, i in zip(spans, scores, of_note, strict=True):
        found[i].append(Entity(span, label, score))
    return found
