"""Labelled notes to what a student learns from: windows, and the tags each token may bear."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.encode import Encoded, Encoder
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme, claim_tokens
from clin_edge.core.spans import alternatives

LOWEST = -100.0  # a finite stand-in for log 0, so that 0 * log 0 is 0 in a loss


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One window to learn from.

    ``ids`` (T,) int64 with special tokens; ``allowed`` (T, C) bool: the tags that what is known
    permits; ``learn`` (T,) bool: the tokens that count, those the window keeps, one after another;
    ``opens_word`` (T,) bool as in ``Encoded``. ``at_start``, ``at_end``: whether the first and
    last of the kept tokens are the note's. ``soft`` (T, C) float16: log-probabilities of a bigger
    student.
    """

    ids: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    learn: NDArray[np.bool_]
    opens_word: NDArray[np.bool_]
    at_start: bool
    at_end: bool
    soft: NDArray[np.float16] | None = None


def allowed_tags(item: Labelled, encoded: Encoded, scheme: LabelScheme) -> NDArray[np.bool_]:
    """Say which tags each token (N, C) may bear, given all that the source said.

    Inside an entity of label A: the tags of A; of label ``A|B``: those of A or B. Outside: O, or
    any tag of a label the source does not mark, since its silence there says nothing. A label that
    the scheme lacks counts as O.
    """
    unmarked = [t for t in scheme.types if t not in item.covered]
    outside = np.zeros(len(scheme.tags), dtype=bool)
    outside[0] = True
    for label in unmarked:
        outside[[scheme.index[f"B-{label}"], scheme.index[f"I-{label}"]]] = True
    entities = [e for e in item.entities if set(alternatives(e.label)) & set(scheme.types)]
    claims, opens = claim_tokens(entities, encoded.offsets)
    allowed = np.tile(outside, (len(encoded.ids), 1))
    for i, entity in enumerate(entities):
        for prefix, tokens in (("B", (claims == i) & opens), ("I", (claims == i) & ~opens)):
            tags = np.zeros(len(scheme.tags), dtype=bool)
            for label in alternatives(entity.label):
                tags[scheme.index.get(f"{prefix}-{label}", 0)] = True
            allowed[tokens] = tags
    return allowed


def whole_words(allowed: NDArray[np.bool_], opens_word: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Allow every tag on words (N, C) that an entity cuts in two.

    A chain that cuts no word could not follow such labels at all: no path would be right.
    """
    first = opens_word.copy()
    first[:1] = True
    word = np.cumsum(first) - 1
    inside = allowed[:, 2::2]
    labels = allowed[:, 1::2] | inside
    of_first = np.flatnonzero(first)[word]
    differs = (allowed[:, 0] != allowed[of_first, 0]) | (labels != labels[of_first]).any(axis=1)
    cut = ~first & (differs | (labels & ~inside).any(axis=1))
    known = allowed.copy()
    known[np.isin(word, word[cut])] = True
    return known


def make_examples(
    items: Iterable[Labelled],
    encoder: Encoder,
    scheme: LabelScheme,
    *,
    keep_words_whole: bool = False,
    soft: Iterator[NDArray[np.float16]] | None = None,
) -> Iterator[Example]:
    """Cut labelled notes into the windows the runtime would cut, each token learnt once.

    Args:
        items: The notes.
        encoder: Cuts them.
        scheme: Their tags.
        keep_words_whole: As ``whole_words`` does, for a chain that cuts none.
        soft: A bigger student's log-probabilities (N, C), in turn of each note that leaves
            something open. A note that marks every label is followed itself, as if by a student
            that is sure.
    """
    for item in items:
        encoded = encoder.encode(item.note)
        allowed = allowed_tags(item, encoded, scheme)
        if keep_words_whole:
            allowed = whole_words(allowed, encoded.opens_word)
        followed = None
        if soft is not None:
            sure = marks_all(item, scheme)
            followed = np.where(allowed, 0, LOWEST).astype(np.float16) if sure else next(soft)
        for window in encoded.windows:
            ids = encoder.window_ids(encoded, window)
            shape = (len(ids), len(scheme.tags))
            first = encoder.n_prefix - window.start
            body = slice(first + window.start, first + window.end)
            example = Example(
                ids,
                np.ones(shape, dtype=bool),
                np.zeros(len(ids), dtype=bool),
                np.ones(len(ids), dtype=bool),
                window.keep_start == 0,
                window.keep_end == len(encoded.ids),
                None if followed is None else np.zeros(shape, dtype=np.float16),
            )
            example.allowed[body] = allowed[window.start : window.end]
            example.opens_word[body] = encoded.opens_word[window.start : window.end]
            example.learn[first + window.keep_start : first + window.keep_end] = True
            if example.soft is not None and followed is not None:
                example.soft[body] = followed[window.start : window.end]
            yield example


def marks_all(item: Labelled, scheme: LabelScheme) -> bool:
    """Say whether a note's source leaves nothing open: it marks every label there is."""
    return item.covered.issuperset(scheme.types)


def join_sources(sources: Sequence[Sequence[Labelled]]) -> list[Labelled]:
    """Join what several sources say of the same note where they mark different labels.

    So an RxNorm file (MEDICATION) and a SNOMED file (DISEASE, SYMPTOM) of the same notes make one
    set that is learnt once. Sources that mark the same label are left side by side: choosing
    between them is the business of ``merge``.
    """
    joined: list[Labelled] = []
    at: dict[tuple[str, str], list[int]] = {}
    for items in sources:
        for item in items:
            places = at.setdefault((item.note.id, item.note.text), [])
            free = next((i for i in places if not joined[i].covered & item.covered), None)
            if free is None:
                places.append(len(joined))
                joined.append(item)
            else:
                other = joined[free]
                joined[free] = dataclasses.replace(
                    other,
                    entities=(*other.entities, *item.entities),
                    marked=other.marked | item.marked,
                )
    return joined


def epoch_batches(
    lengths: Sequence[int], *, batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """Shuffle windows into batches of like length, at most ``batch_tokens`` with padding.

    The order depends on ``seed`` and ``epoch`` alone, so that a resumed run repeats it.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    # Sorted by length within pools: little padding, and still another mixture each epoch.
    pool = max(1, 50 * batch_tokens // max(int(np.mean(lengths)), 1))
    out: list[list[int]] = []
    for start in range(0, len(order), pool):
        batch: list[int] = []
        for i in sorted(order[start : start + pool].tolist(), key=lambda i: lengths[i]):
            if batch and lengths[i] * (len(batch) + 1) > batch_tokens:
                out.append(batch)
                batch = []
            batch.append(i)
        out.append(batch)
    return [out[i] for i in rng.permutation(len(out))]
