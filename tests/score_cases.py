"""Gold notes and predictions for the tests of scores: small by hand, drawn, and at random."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import Scores
from clin_edge.core.spans import Entity, Span
from strategies import apart, spans

LABELS = ("MEDICATION", "DISEASE", "SYMPTOM")
EITHER = "DISEASE|SYMPTOM"
Place = tuple[int, int, str]


def gold(note_id: str, *places: Place, marked: tuple[str, ...] | None = None) -> Labelled:
    said = frozenset(label for *_, label in places) if marked is None else frozenset(marked)
    return Labelled(Note(note_id, "x" * 99), entities(*places), said)


def entities(*places: Place) -> tuple[Entity, ...]:
    return tuple(Entity(Span(start, end), label) for start, end, label in places)


def counts(scores: Scores, label: str | None = None) -> tuple[int, int, int]:
    row = scores.micro if label is None else scores.by_label[label]
    return row.counts.tp, row.counts.fp, row.counts.fn


@st.composite
def some_entities(draw, *, overlapping: bool) -> list[Entity]:
    drawn = draw(st.lists(spans(12), max_size=4)) if overlapping else draw(apart(12))
    labels = st.sampled_from(LABELS[: draw(st.integers(1, 3))])
    return [Entity(span, draw(labels)) for span in drawn]


@st.composite
def corpora(draw, *, overlapping: bool = True):
    """Gold notes and predictions; some notes do not mark all labels, some have no prediction."""
    golds, predicted = [], {}
    for i in range(draw(st.integers(1, 3))):
        marked = frozenset(draw(st.just(LABELS) | st.lists(st.sampled_from(LABELS))))
        listed = tuple(draw(some_entities(overlapping=overlapping)))
        golds.append(Labelled(Note(f"n{i}", "x" * 12), listed, marked))
        if draw(st.booleans()):
            predicted[f"n{i}"] = draw(some_entities(overlapping=overlapping))
    return golds, predicted


def random_corpus(
    n_notes: int, hit: float, *, seed: int = 3
) -> tuple[list[Labelled], dict[str, tuple[Entity, ...]]]:
    """Gold notes of 1 to 5 entities, each found with chance ``hit``; one more is found in each.

    Of those found, some end too early.
    """
    rng, found = np.random.default_rng(3), np.random.default_rng(seed)
    golds, predicted = [], {}
    for i in range(n_notes):
        places = [(10 * k, 10 * k + 5, LABELS[k % 3]) for k in range(rng.integers(1, 6))]
        golds.append(gold(f"n{i}", *places, marked=LABELS))
        hits = [place for place in places if found.random() < hit]
        hits = [(a, b - (found.random() < 0.1), label) for a, b, label in hits]
        predicted[f"n{i}"] = entities(*hits, (60, 66, "DISEASE"))
    return golds, predicted
