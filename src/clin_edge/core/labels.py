"""The label scheme: spans to tags and back, and which tag may follow which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.spans import Entity, Span

OUTSIDE = "O"


@dataclass(frozen=True)
class LabelScheme:
    """The labels of a model and their BIO tags: ``O, B-first, I-first, B-second, …``.

    B opens a span and I continues one of the same label, so two that touch stay two.

    Raises:
        ValueError: If there is no label, one comes twice, or one holds a space or ``|``.
    """

    types: tuple[str, ...]
    tagging: str = "BIO"

    def __post_init__(self) -> None:
        """Refuse what cannot be written as tags."""
        if self.tagging != "BIO":
            raise ValueError(f"tagging {self.tagging!r} is not known; expected 'BIO'")
        if not self.types or len(set(self.types)) != len(self.types):
            raise ValueError(f"a scheme needs labels, each once, got {self.types}")
        for label in self.types:
            if not label or "|" in label or any(c.isspace() for c in label):
                raise ValueError(f"a label has no spaces and no '|', got {label!r}")

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The C tags, ``O`` first, then B and I of each label in order."""
        return (OUTSIDE, *(f"{p}-{label}" for label in self.types for p in "BI"))

    @cached_property
    def index(self) -> dict[str, int]:
        """The index of each tag."""
        return {tag: i for i, tag in enumerate(self.tags)}

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """``allowed[a, b]`` (C, C): tag b may follow tag a. I-X follows only B-X and I-X."""
        allowed = np.ones((len(self.tags), len(self.tags)), dtype=bool)
        allowed[:, 2::2] = False
        for inside in range(2, len(self.tags), 2):
            allowed[[inside - 1, inside], inside] = True
        return allowed

    @cached_property
    def allowed_first(self) -> NDArray[np.bool_]:
        """``allowed_first[a]`` (C,): a note may begin with tag a; with every tag but an I."""
        first = np.ones(len(self.tags), dtype=bool)
        first[2::2] = False
        return first

    def spans(
        self, tags: NDArray[np.intp], offsets: NDArray[np.int64]
    ) -> list[tuple[Span, str, slice]]:
        """Read the spans out of the tags (N,) of a note's tokens with offsets (N, 2).

        A span runs from its first token's first character to its last token's last. An I that
        continues nothing of its label opens a span, as a B would. Gives span, label and the
        slice of tokens, in text order.
        """
        inside = tags > 0
        labels = (tags - 1) // 2
        follows = np.zeros(len(tags), dtype=bool)
        follows[1:] = inside[1:] & inside[:-1] & (tags[1:] % 2 == 0) & (labels[1:] == labels[:-1])
        firsts = np.flatnonzero(inside & ~follows)
        pasts = np.flatnonzero(inside & ~np.append(follows[1:], False)) + 1
        found = []
        for first, past, start, end, label in zip(
            firsts.tolist(),
            pasts.tolist(),
            offsets[firsts, 0].tolist(),
            offsets[pasts - 1, 1].tolist(),
            labels[firsts].tolist(),
            strict=True,
        ):
            if start < end:  # a byte-level tokenizer has tokens of a space alone: no characters
                found.append((Span(start, end), self.types[label], slice(first, past)))
        return found


def claim_tokens(
    entities: Sequence[Entity], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Say for each token (N,) which entity claims it (-1: none), and whether it opens it.

    A token belongs to an entity if they share a character. Where entities overlap the longer one
    claims all its tokens first, then the earlier one; what is left of the other is not claimed at
    all, since half an entity would teach a wrong boundary.

    Args:
        entities: Of one note, in any order.
        offsets: First and past-the-end character of each token (N, 2), in text order.
    """
    claims = np.full(len(offsets), -1, dtype=np.intp)
    opens = np.zeros(len(offsets), dtype=bool)
    longest_first = sorted(
        range(len(entities)),
        key=lambda i: (entities[i].span.start - entities[i].span.end, entities[i].span.start, i),
    )
    for i in longest_first:
        span = entities[i].span
        first = int(np.searchsorted(offsets[:, 1], span.start, side="right"))
        end = int(np.searchsorted(offsets[:, 0], span.end, side="left"))
        if first < end and (claims[first:end] == -1).all():
            claims[first:end] = i
            opens[first] = True
    return claims, opens


def spans_to_tags(
    entities: Sequence[Entity], offsets: NDArray[np.int64], scheme: LabelScheme
) -> NDArray[np.intp]:
    """Tag tokens (N,) with entities whose labels the scheme has; overlaps as ``claim_tokens``.

    The exact inverse of ``LabelScheme.spans`` for spans that do not overlap and begin and end
    where tokens do.

    Raises:
        KeyError: If an entity's label is not one of the scheme's.
    """
    claims, opens = claim_tokens(entities, offsets)
    first_tags = np.array([scheme.index[f"B-{e.label}"] for e in entities] + [0], dtype=np.intp)
    return np.where(claims == -1, 0, first_tags[claims] + (~opens & (claims != -1)))
