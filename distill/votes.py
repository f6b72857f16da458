"""Term tables and rules beside students that are followed: what these know moves what is learnt.

A term table that knows a name leans on the students; rules that mark a place are believed there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme, claim_tokens
from clin_edge.core.notes import Note
from clin_edge.core.spans import alternatives
from clin_edge.distill.dataset import LOWEST

_SURE = np.log(np.float32(0.97))
_UNSURE = np.log(np.float32(0.03))

Votes = Mapping[tuple[str, str], Sequence[Labelled]]
"""By a note's id and text, what each source says of it."""


def collect_votes(sources: Iterable[Sequence[Labelled]]) -> Votes:
    """Lay what sources say of the same notes together."""
    votes: defaultdict[tuple[str, str], list[Labelled]] = defaultdict(list)
    for source in sources:
        for item in source:
            if item.entities:
                votes[item.note.id, item.note.text].append(item)
    return votes


def collect_marks(sources: Iterable[Sequence[Labelled]]) -> Votes:
    """Lay what rules mark in the same notes together, as ``collect_votes`` does.

    Raises:
        InputError: If an entity may be of several labels: a rule that is believed knows which.
    """
    marks = collect_votes(sources)
    for label in {e.label for items in marks.values() for item in items for e in item.entities}:
        if len(alternatives(label)) > 1:
            raise InputError(f"[soft] marked: {label} is no single label; leave those entities out")
    return marks


def lean_on(
    soft: Iterable[NDArray[np.float16]],
    notes: Sequence[Note],
    encoder: Encoder,
    scheme: LabelScheme,
    votes: Votes,
    weight: float,
) -> Iterator[NDArray[np.float16]]:
    """Give soft labels (N, C) of each of ``notes``, moved towards what sources say.

    Each source that has a token in an entity multiplies the odds of that tag, for ``A|B`` of both
    tags, by e to the ``weight``; where it is silent it says nothing.
    """
    for note, rows in zip(notes, soft, strict=True):
        said = votes.get((note.id, note.text))
        yield _leant(rows, encoder.encode(note).offsets, scheme, said, weight) if said else rows


def _leant(
    rows: NDArray[np.float16],
    offsets: NDArray[np.int64],
    scheme: LabelScheme,
    said: Sequence[Labelled],
    weight: float,
) -> NDArray[np.float16]:
    leant = rows.astype(np.float32)
    for item in said:
        known = [e for e in item.entities if set(alternatives(e.label)) & set(scheme.types)]
        claims, opens = claim_tokens(known, offsets)
        for i, entity in enumerate(known):
            for label in set(alternatives(entity.label)) & set(scheme.types):
                leant[(claims == i) & opens, scheme.index[f"B-{label}"]] += weight
                leant[(claims == i) & ~opens, scheme.index[f"I-{label}"]] += weight
    leant -= np.logaddexp.reduce(leant, axis=1, keepdims=True)
    return np.maximum(leant, LOWEST).astype(np.float16)


def believe(
    soft: Iterable[NDArray[np.float16]],
    notes: Sequence[Note],
    encoder: Encoder,
    scheme: LabelScheme,
    marks: Votes,
) -> Iterator[NDArray[np.float16]]:
    """Give soft labels (N, C) of each of ``notes``, with what ``collect_marks`` gave put in.

    Of a token in an entity, the entity's tag gets 0.97 of what the students gave to O and to all
    labels that this source marks at all, and O the rest; labels the source does not know keep
    their shares. Where it is silent it says nothing.
    """
    for note, rows in zip(notes, soft, strict=True):
        said = marks.get((note.id, note.text))
        yield _believed(rows, encoder.encode(note).offsets, scheme, said) if said else rows


def _believed(
    rows: NDArray[np.float16],
    offsets: NDArray[np.int64],
    scheme: LabelScheme,
    said: Sequence[Labelled],
) -> NDArray[np.float16]:
    told = rows.astype(np.float32)
    for item in said:
        types = item.marked & set(scheme.types)
        known = [e for e in item.entities if e.label in types]
        claims, opens = claim_tokens(known, offsets)
        tags = [f"{mark}-{label}" for label in sorted(types) for mark in "BI"]
        columns = np.array([0, *(scheme.index[tag] for tag in tags)])
        for i, entity in enumerate(known):
            for mark, places in (("B", opens), ("I", ~opens)):
                at = np.flatnonzero((claims == i) & places)
                mass = np.logaddexp.reduce(told[np.ix_(at, columns)], axis=1)
                told[np.ix_(at, columns)] = LOWEST
                told[at, 0] = mass + _UNSURE
                told[at, scheme.index[f"{mark}-{entity.label}"]] = mass + _SURE
    return np.maximum(told, LOWEST).astype(np.float16)
