"""What a student learns from: every token once, and only what the sources really said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.batching import Batch
from clin_edge.core.encode import Encoded
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme, spans_to_tags
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.dataset import (
    Example,
    allowed_tags,
    epoch_batches,
    make_examples,
)
from strategies import labelled
from toy import TOKENIZERS, ToySession, toy_encoder, toy_scheme

SCHEME = toy_scheme()  # MEDICATION, DISEASE, SYMPTOM
ALL = frozenset(SCHEME.types)
ENCODERS = {kind: toy_encoder(kind=kind) for kind in TOKENIZERS}
KINDS = pytest.mark.parametrize("kind", ["wordpiece", "bytes"])

M, D, S = (f"B-{t}" for t in SCHEME.types)
m, d, s = (f"I-{t}" for t in SCHEME.types)
O = "O"  # noqa: E741  the tag's name


def item_of(text: str, *entities: tuple[int, int, str], marked: frozenset[str] = ALL) -> Labelled:
    found = tuple(Entity(Span(start, end), label) for start, end, label in entities)
    return Labelled(Note("n", text), found, marked)


def tag_sets(item: Labelled, scheme: LabelScheme = SCHEME, kind: str = "wordpiece"):
    encoded = ENCODERS[kind].encode(item.note)
    allowed = allowed_tags(item, encoded, scheme)
    assert allowed.shape == (len(encoded.ids), len(scheme.tags))
    assert allowed.dtype == bool
    return [{tag for tag, ok in zip(scheme.tags, row, strict=True) if ok} for row in allowed]


def by_hand(item: Labelled, encoded: Encoded, scheme: LabelScheme) -> list[set[str]]:
    """Token by token and entity by entity, as the docstrings have it."""
    silent = {"O"}
    for label in scheme.types:
        if not any(label in said.split("|") for said in item.marked):
            silent |= {f"B-{label}", f"I-{label}"}
    tags: list[set[str]] = [silent for _ in encoded.ids]
    taken: set[int] = set()
    known = [e for e in item.entities if any(x in scheme.types for x in e.label.split("|"))]
    for e in sorted(known, key=lambda e: (-(e.span.end - e.span.start), e.span.start)):
        tokens = [
            i
            for i, (start, end) in enumerate(encoded.offsets.tolist())
            if start < e.span.end and e.span.start < end
        ]
        if tokens and not taken & set(tokens):
            taken |= set(tokens)
            for i in tokens:
                prefix = "B" if i == tokens[0] else "I"
                tags[i] = {
                    f"{prefix}-{x}" if x in scheme.types else "O" for x in e.label.split("|")
                }
    return tags


# --- which tags a token may bear -----------------------------------------------------------------

#       0       8     14          26      34
TEXT = "patient takes metformin, no fever"  # metformin: one piece


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(
            item_of(TEXT, (14, 23, "MEDICATION")),
            [{O}, {O}, {M}, {O}, {O}, {O}],
            id="all marked",
        ),
        pytest.param(
            item_of(TEXT, (14, 23, "MEDICATION"), marked=frozenset({"MEDICATION"})),
            [{O, D, d, S, s}, {O, D, d, S, s}, {M}, *[{O, D, d, S, s}] * 3],
            id="what is not marked may be anywhere else",
        ),
        pytest.param(
            item_of(TEXT, marked=frozenset()),
            [{O, M, m, D, d, S, s}] * 6,
            id="a source that marks nothing says nothing",
        ),
        pytest.param(
            item_of(TEXT, (28, 33, "DISEASE|SYMPTOM")),
            [{O}, {O}, {O}, {O}, {O}, {D, S}],
            id="one of two",
        ),
        pytest.param(
            item_of(TEXT, marked=frozenset({"DISEASE|SYMPTOM"})),
            [{O, M, m}] * 6,
            id="marking one of two marks both",
        ),
        pytest.param(
            item_of(TEXT, (8, 23, "DISEASE|SYMPTOM"), marked=frozenset({"DISEASE|SYMPTOM"})),
            [{O, M, m}, {D, S}, {d, s}, {O, M, m}, {O, M, m}, {O, M, m}],
            id="one of two, two tokens, the third label unmarked",
        ),
        pytest.param(
            item_of(TEXT, (28, 33, "ADE"), marked=ALL | {"ADE"}),
            [{O}] * 6,
            id="a label the scheme lacks is O",
        ),
        pytest.param(
            item_of(TEXT, (28, 33, "ADE"), marked=frozenset({"ADE", "DISEASE"})),
            [{O, M, m, S, s}] * 6,
            id="a label the scheme lacks, others unmarked",
        ),
        pytest.param(
            item_of(TEXT, (28, 33, "ADE|SYMPTOM")),
            [{O}] * 5 + [{O, S}],
            id="one of two, of which the scheme lacks one",
        ),
        pytest.param(
            item_of(TEXT, (8, 23, "SYMPTOM"), (14, 23, "MEDICATION")),
            [{O}, {S}, {s}, {O}, {O}, {O}],
            id="of two that overlap the longer has all",
        ),
        pytest.param(
            item_of(TEXT, (0, 13, "SYMPTOM"), (8, 23, "MEDICATION")),
            [{O}, {M}, {m}, {O}, {O}, {O}],
            id="and the shorter nothing, not even what is left of it",
        ),
        pytest.param(
            item_of(TEXT, (8, 23, "ADE"), (14, 23, "MEDICATION"), marked=ALL | {"ADE"}),
            [{O}, {O}, {M}, {O}, {O}, {O}],
            id="a label the scheme lacks takes no tokens from others",
        ),
        pytest.param(
            item_of(TEXT, (14, 23, "MEDICATION"), (14, 23, "DISEASE")),
            [{O}, {O}, {M}, {O}, {O}, {O}],
            id="of two alike the one listed first",
        ),
        pytest.param(
            item_of(TEXT, (17, 20, "MEDICATION")),
            [{O}, {O}, {M}, {O}, {O}, {O}],
            id="half a token claims it",
        ),
        pytest.param(
            item_of(TEXT, (14, 23, "MEDICATION"), (24, 33, "SYMPTOM")),
            [{O}, {O}, {M}, {O}, {S}, {s}],
            id="a blank at the edge claims nothing",
        ),
        pytest.param(
            item_of(TEXT, (14, 23, "MEDICATION"), (23, 24, "MEDICATION")),
            [{O}, {O}, {M}, {M}, {O}, {O}],
            id="two that touch stay two",
        ),
        pytest.param(item_of(" \n"), [], id="no tokens"),
    ],
)
def test_allowed_tags_worked_by_hand(item: Labelled, expected: list[set[str]]) -> None:
    assert tag_sets(item) == expected


@KINDS
@given(item=labelled(("MEDICATION", "DISEASE", "DISEASE|SYMPTOM", "ADE", "ADE|SYMPTOM")))
def test_allowed_tags_are_those_of_the_slow_reading(kind: str, item: Labelled) -> None:
    encoded = ENCODERS[kind].encode(item.note)
    assert tag_sets(item, kind=kind) == by_hand(item, encoded, SCHEME)


@KINDS
@given(item=labelled(SCHEME.types))
def test_where_all_is_known_they_are_the_tags_themselves(kind: str, item: Labelled) -> None:
    encoded = ENCODERS[kind].encode(item.note)
    whole = Labelled(item.note, item.entities, ALL)
    allowed = allowed_tags(whole, encoded, SCHEME)
    assert (allowed.sum(axis=1) == 1).all()
    assert allowed.argmax(axis=1).tolist() == (
        spans_to_tags(item.entities, encoded.offsets, SCHEME).tolist()
    )


@given(item=labelled())
def test_a_token_always_has_a_tag_it_may_bear(item: Labelled) -> None:
    assert all(tag_sets(item))


# --- windows -------------------------------------------------------------------------------------


class Listening(ToySession):
    """Remembers the real tokens of every row it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[list[int]] = []

    def run(self, batch: Batch):
        for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            self.heard.append(row[mask == 1].tolist())
        return super().run(batch)


def examples_of(item: Labelled, kind: str) -> list[Example]:
    return list(make_examples([item], ENCODERS[kind], SCHEME))


@KINDS
@given(item=labelled())
def test_every_token_is_learnt_once_with_its_own_tags_and_no_special_one_ever(kind, item) -> None:
    encoder = ENCODERS[kind]
    encoded = encoder.encode(item.note)
    examples = examples_of(item, kind)
    learnt = [token for e in examples for token in e.ids[e.learn].tolist()]
    assert learnt == encoded.ids.tolist()
    tags = [row for e in examples for row in e.allowed[e.learn].tolist()]
    assert tags == allowed_tags(item, encoded, SCHEME).tolist()
    for e in examples:
        assert e.ids.shape == e.learn.shape == e.allowed.shape[:1]
        for edge in (slice(encoder.n_prefix), slice(-1, None)):
            assert not e.learn[edge].any()
            assert e.allowed[edge].all()
        assert e.learn.any()
        assert e.allowed.any(axis=1).all()


@KINDS
@given(item=labelled())
def test_a_student_reads_in_training_what_it_will_read_at_the_edge(kind: str, item) -> None:
    session = Listening()
    list(Predictor(ENCODERS[kind], SCHEME, session).read([item.note]))
    assert sorted(e.ids.tolist() for e in examples_of(item, kind)) == sorted(session.heard)


@given(item=labelled())
def test_tokens_seen_but_not_kept_bear_their_tags_too(item: Labelled) -> None:
    encoder = ENCODERS["wordpiece"]
    encoded = encoder.encode(item.note)
    allowed = allowed_tags(item, encoded, SCHEME)
    for example, window in zip(examples_of(item, "wordpiece"), encoded.windows, strict=True):
        body = example.allowed[encoder.n_prefix : -1]
        assert body.tolist() == allowed[window.start : window.end].tolist()


def test_windows_come_note_after_note_and_lazily() -> None:
    def items():
        yield item_of("patient takes metformin " * 8)
        yield item_of("")
        yield item_of("no fever")
        raise AssertionError("asked for more than was needed")

    examples = make_examples(items(), ENCODERS["wordpiece"], SCHEME)
    lengths = [len(next(examples).ids) for _ in range(3)]
    assert lengths == [16, 16, 4]


# --- batches -------------------------------------------------------------------------------------

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)
BUDGET = st.integers(1, 300)


@given(LENGTHS, BUDGET, st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_holds_every_window_once_within_the_budget(lengths, budget, seed, epoch) -> None:
    plan = epoch_batches(lengths, batch_tokens=budget, seed=seed, epoch=epoch)
    assert sorted(i for batch in plan for i in batch) == list(range(len(lengths)))
    for batch in plan:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    assert plan == epoch_batches(lengths, batch_tokens=budget, seed=seed, epoch=epoch)


def test_another_epoch_and_another_seed_have_another_order_and_other_company() -> None:
    lengths = np.random.default_rng(0).integers(5, 40, 200).tolist()
    plans = [
        epoch_batches(lengths, batch_tokens=128, seed=seed, epoch=epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    for i, plan in enumerate(plans):
        for other in plans[:i]:
            assert plan != other
            assert set(map(frozenset, plan)) != set(map(frozenset, other))


def test_little_is_padding_and_long_and_short_windows_are_mixed_over_the_epoch() -> None:
    lengths = np.random.default_rng(0).integers(5, 250, 1000).tolist()
    plan = epoch_batches(lengths, batch_tokens=2048, seed=0, epoch=0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan)
    assert sum(lengths) / padded > 0.9
    widths = [max(lengths[i] for i in batch) for batch in plan]
    half = len(widths) // 2
    assert abs(np.mean(widths[:half]) - np.mean(widths[half:])) < 40
