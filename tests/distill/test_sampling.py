"""Which sentences and notes are shown: whole ones, drawn alike whatever stands beside them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.sampling import (
    SentenceCount,
    count_sentences,
    drop_empty_sentences,
    keep_for_share,
    sentences_of,
    take_share,
)
from clin_edge.distill.sentences import sentence_starts
from strategies import labelled

KEEPS = st.sampled_from([0.0, 0.08, 0.5, 1.0])
SEEDS = st.integers(0, 2**64)
TEXT = "Chest pain today. Takes aspirin. No fever. Slept well."
#       0                 18             33        43


def item_of(text: str, *entities: tuple[int, int], note_id: str = "n") -> Labelled:
    found = tuple(Entity(Span(start, end), "DISEASE") for start, end in entities)
    return Labelled(Note(note_id, text), found, frozenset({"DISEASE"}), {"unknown": 1})


@st.composite
def note_sets(draw: st.DrawFn) -> list[Labelled]:
    items = draw(st.lists(labelled(), max_size=3))
    return [Labelled(Note(f"n{i}", x.note.text), x.entities, x.marked) for i, x in enumerate(items)]


def some_notes(n: int) -> list[Labelled]:
    return [item_of(TEXT, note_id=f"n{i}") for i in range(n)]


def texts_of(item: Labelled) -> list[str]:
    return [item.note.text[s.start : s.end] for s in sentences_of(item)]


# --- sentences -----------------------------------------------------------------------------------


@given(labelled())
def test_sentences_lie_end_to_end_and_cut_no_entity(item: Labelled) -> None:
    found = sentences_of(item)
    assert "".join(texts_of(item)) == item.note.text
    assert [s.start for s in found[1:]] == [s.end for s in found[:-1]]
    for entity in item.entities:
        assert [s for s in found if s.overlaps(entity.span)] == [
            s for s in found if s.start <= entity.span.start and entity.span.end <= s.end
        ]
    # Every other border is there.
    cut = {s.start for s in found}
    for start in sentence_starts(item.note.text)[0]:
        crossed = any(e.span.start < start < e.span.end for e in item.entities)
        assert (start in cut) == (not crossed and item.note.text != "")


def test_sentences_that_share_an_entity_are_one() -> None:
    assert texts_of(item_of(TEXT, (6, 10))) == [
        *("Chest pain today. ", "Takes aspirin. ", "No fever. ", "Slept well."),
    ]
    assert texts_of(item_of(TEXT, (6, 23))) == [
        *("Chest pain today. Takes aspirin. ", "No fever. ", "Slept well."),
    ]
    touching = item_of(TEXT, (0, 18), (18, 33))
    assert texts_of(touching)[:2] == ["Chest pain today. ", "Takes aspirin. "]


# --- leaving out empty ones ----------------------------------------------------------------------


@given(labelled(), KEEPS, SEEDS)
def test_what_stays_is_whole_sentences_with_their_entities(
    item: Labelled, keep: float, seed: int
) -> None:
    shown = drop_empty_sentences([item], keep=keep, seed=seed)
    pattern = ""
    for sentence in sentences_of(item):
        piece = re.escape(item.note.text[sentence.start : sentence.end])
        full = any(sentence.overlaps(e.span) for e in item.entities)
        must_stay, must_go = full or keep == 1, not full and keep == 0
        pattern += f"(?:{piece})" + ("" if must_stay else "{0}" if must_go else "?")
    assert re.fullmatch(pattern, shown[0].note.text if shown else "")
    assert [x.note.id for x in shown] == ([item.note.id] if shown else [])
    assert {x.marked for x in shown} <= {item.marked}
    assert entity_texts(shown) == entity_texts([item])


def entity_texts(items: Sequence[Labelled]) -> list[tuple[str, str]]:
    return sorted(
        (entity.label, item.note.text[entity.span.start : entity.span.end])
        for item in items
        for entity in item.entities
    )


def test_an_empty_sentence_goes_and_entities_move_along() -> None:
    item = item_of(TEXT, (37, 42), (24, 31))
    (less,) = drop_empty_sentences([item], keep=0.0, seed=0)
    assert less == item_of("Takes aspirin. No fever. ", (6, 13), (19, 24))
    assert drop_empty_sentences([item], keep=1.0, seed=0) == [item_of(TEXT, (24, 31), (37, 42))]
    for entity in ((18, 23), (18, 33), (23, 33)):  # up to the sentence's edges
        (less,) = drop_empty_sentences([item_of(TEXT, entity)], keep=0.0, seed=0)
        assert less == item_of("Takes aspirin. ", (entity[0] - 18, entity[1] - 18))
    assert drop_empty_sentences([item_of(TEXT), item_of("")], keep=0.0, seed=0) == []


@given(note_sets(), KEEPS, SEEDS, st.randoms(use_true_random=False))
def test_a_draw_does_not_depend_on_the_other_notes(
    items: list[Labelled], keep: float, seed: int, draw: random.Random
) -> None:
    shown = {x.note.id: x for x in drop_empty_sentences(items, keep=keep, seed=seed)}
    some = draw.sample(items, k=draw.randint(0, len(items)))
    again = drop_empty_sentences(some, keep=keep, seed=seed)
    assert again == [shown[x.note.id] for x in some if x.note.id in shown]


def test_draws_differ_by_seed_note_and_sentence() -> None:
    items = [item_of("No fever.\n" * 200, note_id=note_id) for note_id in ("1", "2")]
    kept = {
        (i, seed): [
            count_sentences([items[i]], keep=keep / 20, seed=seed).sentences for keep in range(21)
        ]
        for i in (0, 1)
        for seed in (0, 1)
    }
    assert len({tuple(counts) for counts in kept.values()}) == 4
    for counts in kept.values():
        assert counts == sorted(counts)
        # 3 standard deviations of 200 draws
        assert all(abs(n - 10 * keep) <= 21 for keep, n in enumerate(counts))


@given(note_sets(), KEEPS, SEEDS)
def test_the_counts_are_those_of_what_is_left(
    items: list[Labelled], keep: float, seed: int
) -> None:
    sentences = [
        (item.note.id, sentence, any(sentence.overlaps(e.span) for e in item.entities))
        for item in items
        for sentence in sentences_of(item)
    ]
    n_full = sum(full for *_, full in sentences)
    assert count_sentences(items) == SentenceCount(len(sentences), len(sentences) - n_full)
    left = count_sentences(items, keep=keep, seed=seed)
    assert left.sentences - left.empty == n_full
    n_chars = sum(len(x.note.text) for x in drop_empty_sentences(items, keep=keep, seed=seed))
    assert (left.sentences == 0) == (n_chars == 0)
    if keep in (0, 1):
        assert left == SentenceCount(n_full if keep == 0 else len(sentences), left.empty)
        assert left.empty == (0 if keep == 0 else len(sentences) - n_full)


# --- the paper's numbers -------------------------------------------------------------------------


@cache
def papers_notes() -> tuple[Labelled, ...]:
    """41,497 sentences of one line each, 31,163 of them empty, in notes of up to 100."""
    empty = [True] * 31_163 + [False] * 10_334
    random.Random(0).shuffle(empty)
    line = "- no\n"
    return tuple(
        item_of(
            line * len(part),
            *((5 * i + 2, 5 * i + 4) for i, is_empty in enumerate(part) if not is_empty),
            note_id=str(start),
        )
        for start in range(0, len(empty), 100)
        if (part := empty[start : start + 100])
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_papers_down_sampling(seed: int) -> None:
    items = papers_notes()
    before = count_sentences(items)
    assert before == SentenceCount(41_497, 31_163)
    assert before.empty_share == pytest.approx(0.7510, abs=5e-5)
    after = count_sentences(items, keep=0.08, seed=seed)
    # 10,334 + 0.08 x 31,163 = 12,827; the draws spread by 48, the paper's own gave 12,782, 12,832.
    assert after.sentences == pytest.approx(12_827, abs=3 * 48)
    assert after.empty_share == pytest.approx(0.194, abs=0.01)
    shown = drop_empty_sentences(items, keep=0.08, seed=seed)
    assert sum(x.note.text.count("\n") for x in shown) == after.sentences
    assert sum(len(x.entities) for x in shown) == 10_334


def test_the_keep_for_a_share() -> None:
    items = papers_notes()
    assert keep_for_share(items, 2_493 / 12_827) == pytest.approx(0.08, abs=1e-5)
    few = items[:100]
    keep = keep_for_share(few, 0.2072)
    left = count_sentences(few, keep=keep, seed=0)
    assert left.empty_share == pytest.approx(0.2072, abs=0.02)
    assert keep_for_share(few, 0.0) == 0.0
    assert keep_for_share(few, 0.9) == keep_for_share(few, 1.0) == 1.0
    assert keep_for_share([], 0.2) == 1.0
    assert keep_for_share([item_of("No fever.")], 0.2) == 0.0


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    items = [item_of(TEXT)]
    for call in (
        lambda: drop_empty_sentences(items, keep=share, seed=0),
        lambda: count_sentences(items, keep=share),
        lambda: keep_for_share(items, share),
        lambda: take_share(items, share, seed=0),
    ):
        with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
            call()


@pytest.mark.parametrize(("sentences", "empty"), [(1, 2), (1, -1), (-1, -1)])
def test_counts_that_contradict_each_other_are_refused(sentences: int, empty: int) -> None:
    with pytest.raises(ValueError, match="empty <= sentences"):
        SentenceCount(sentences, empty)


# --- shares for a learning curve -----------------------------------------------------------------


@given(st.integers(1, 60), SEEDS, st.randoms(use_true_random=False))
def test_shares_are_nested_and_do_not_depend_on_the_order(
    n: int, seed: int, draw: random.Random
) -> None:
    items = some_notes(n)
    shuffled = draw.sample(items, k=n)
    smaller: set[str] = set()
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        taken = take_share(items, share, seed=seed)
        ids = {x.note.id for x in taken}
        assert len(taken) == max(1, round(share * n))
        assert taken == [x for x in items if x.note.id in ids]
        assert smaller <= ids
        assert {x.note.id for x in take_share(shuffled, share, seed=seed)} == ids
        smaller = ids


def test_seeds_take_other_notes() -> None:
    items = some_notes(40)
    taken = {tuple(x.note.id for x in take_share(items, 0.1, seed=seed)) for seed in range(10)}
    assert len(taken) == 10
    assert take_share([], 0.5, seed=0) == []


def test_what_two_sources_say_of_a_note_stays_together() -> None:
    items = some_notes(20)
    taken = take_share([*items, *items[:7]], 0.25, seed=3)
    alone = take_share(items, 0.25, seed=3)
    assert taken == [*alone, *(item for item in items[:7] if item in alone)]
    assert 5 == len(alone) < len(taken)
