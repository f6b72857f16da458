"""Soft labels: what a bigger student thinks, token by token of a smaller one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clin_edge.core.batching import Batch, Logits
from clin_edge.core.crf import CrfTables
from clin_edge.core.decode import log_softmax
from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme, spans_to_tags
from clin_edge.core.notes import Note
from clin_edge.core.predict import LOOKAHEAD_BATCHES, Predictor
from clin_edge.core.spans import Entity
from clin_edge.distill.dataset import make_examples
from clin_edge.distill.soft import LOWEST, realign, soft_labels
from strategies import apart, notes, texts, token_offsets
from tiny import invented_set, tiny_student
from toy import TOKENIZERS, ToySession, toy_encoder, toy_scheme

SCHEME = toy_scheme()
BACKWARDS = LabelScheme(SCHEME.types[::-1])
ENCODERS = {kind: toy_encoder(24, 6, kind=kind) for kind in TOKENIZERS}
KINDS = st.sampled_from(list(TOKENIZERS))


def teacher_of(
    kind: str, scheme: LabelScheme = SCHEME, *, crf: CrfTables | None = None, **windows: int
) -> Any:
    """What ``soft_labels`` uses of a student, with a toy network in it."""
    encoder = toy_encoder(**windows, kind=kind)
    session = ToySession(len(scheme.tags), context=True)
    return SimpleNamespace(scheme=scheme, predictor=Predictor(encoder, scheme, session), crf=crf)


def soft(some: Sequence[Note], kind: str, *teachers: Any) -> list[NDArray[np.float16]]:
    return list(soft_labels(some, ENCODERS[kind], SCHEME, teachers))


def by_hand(
    rows: NDArray[np.float32], source: list[tuple[int, int]], target: list[tuple[int, int]]
) -> NDArray[np.float64]:
    """Probabilities, token by token, as the docstring of ``realign`` has it."""
    p = np.exp(rows.astype(np.float64))
    if source == target:
        return p
    out = np.zeros((len(target), rows.shape[1]))
    for i, (start, end) in enumerate(target):
        ahead = [j for j, (_, stop) in enumerate(source) if stop > start]
        if not ahead:  # beyond the last token
            out[i, 0] = 1
            continue
        out[i] = p[ahead[0]]
        begins = source[ahead[0]][0]
        before = [t for t in target[:i] if t[0] == start and t[1] > start]
        opens, goes_on = out[i, 1::2].copy(), out[i, 2::2].copy()
        if begins == start and end > start and not before:
            continue  # both begin here
        out[i, 1::2] = 0
        if begins < start or (begins == start and before):  # inside
            out[i, 2::2] = opens + goes_on
        else:  # between
            out[i, 0] += opens.sum()
    return out


# --- the tokens of another tokenizer -------------------------------------------------------------


@st.composite
def two_cuts(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same text in tokens of two kinds; or tokens that have nothing to do with each other."""
    if draw(st.booleans()):
        first, second = (np.array(draw(token_offsets())).reshape(-1, 2) for _ in "12")
        return first, second
    note = Note("n", draw(texts()))
    first, second = (ENCODERS[draw(KINDS)].encode(note).offsets for _ in "12")
    return first, second


@given(two_cuts(), st.integers(0, 2**32 - 1))
def test_realigned_rows_are_those_found_by_hand(
    cuts: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    source, target = cuts
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3, size=(len(source), len(SCHEME.tags)))
    rows = log_softmax(logits.astype(np.float32))
    found = realign(rows, source, target)
    assert found.dtype == np.float32
    expected = by_hand(rows, [*map(tuple, source.tolist())], [*map(tuple, target.tolist())])
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-5)
    assert (found >= min(LOWEST, rows.min(initial=0))).all()


@given(st.data(), texts())
def test_sure_tags_become_those_of_the_same_spans(data: st.DataObject, text: str) -> None:
    theirs, ours = data.draw(st.permutations(list(TOKENIZERS)))
    source, target = (ENCODERS[kind].encode(Note("n", text)).offsets for kind in (theirs, ours))
    found = data.draw(apart(len(text)))
    labels = data.draw(st.lists(st.sampled_from(SCHEME.types), min_size=len(found)))
    entities = [Entity(span, label) for span, label in zip(found, labels, strict=False)]
    tags = spans_to_tags(entities, source, SCHEME)
    read = [Entity(span, label) for span, label, _ in SCHEME.spans(tags, source)]
    edges = {edge for e in read for edge in (e.span.start, e.span.end)}
    assume(not any(start < edge < end for start, end in target.tolist() for edge in edges))
    rows = np.full((len(source), len(SCHEME.tags)), LOWEST, dtype=np.float32)
    rows[np.arange(len(source)), tags] = 0
    realigned = realign(rows, source, target)
    assert realigned.argmax(axis=1).tolist() == spans_to_tags(read, target, SCHEME).tolist()


def test_a_line_break_after_an_entity_is_no_part_of_it() -> None:
    note = Note("n", "took  aspirin\nno fever")
    source, target = (ENCODERS[kind].encode(note).offsets for kind in ("wordpiece", "bytes"))
    tags = [SCHEME.index[t] for t in ("O", "B-MEDICATION", "O", "B-SYMPTOM")]
    rows = np.full((4, len(SCHEME.tags)), LOWEST, dtype=np.float32)
    rows[np.arange(4), tags] = 0
    best = realign(rows, source, target).argmax(axis=1)
    spans = [(span.start, span.end) for span, *_ in SCHEME.spans(best, target)]
    assert spans == [(6, 13), (17, 22)]


# --- reading notes -------------------------------------------------------------------------------


@given(notes(), KINDS, KINDS)
def test_every_row_is_a_distribution_over_the_students_tokens(
    some: list[Note], theirs: str, ours: str
) -> None:
    found = soft(some, ours, teacher_of(theirs))
    for note, rows in zip(some, found, strict=True):
        assert rows.dtype == np.float16
        assert rows.shape == (len(ENCODERS[ours].encode(note).ids), len(SCHEME.tags))
        assert (rows >= LOWEST).all()
        np.testing.assert_allclose(np.exp(rows.astype(np.float64)).sum(axis=1), 1, atol=1e-3)


@given(notes(), KINDS)
def test_the_same_tokenizer_gives_the_teachers_own_rows(some: list[Note], kind: str) -> None:
    # The teacher's windows are its own: shorter ones than the student's.
    teacher = teacher_of(kind, max_tokens=12, overlap=2)
    expected = [log_softmax(r.logits) for r in teacher.predictor.read(some)]
    for rows, log_p in zip(soft(some, kind, teacher), expected, strict=True):
        assert np.array_equal(rows, np.maximum(log_p, LOWEST).astype(np.float16))


@given(notes(max_size=3), KINDS, KINDS)
def test_rows_are_those_of_the_tokens_that_examples_are_cut_from(
    some: list[Note], theirs: str, ours: str
) -> None:
    encoder = ENCODERS[ours]
    for note, rows in zip(some, soft(some, ours, teacher_of(theirs)), strict=True):
        examples = make_examples([Labelled(note, (), frozenset())], encoder, SCHEME)
        learnt = [example.ids[example.learn] for example in examples]
        ids = np.concatenate(learnt) if learnt else np.empty(0)
        assert len(ids) == len(rows)
        assert np.array_equal(ids, encoder.encode(note).ids)


@given(notes(max_size=3), st.lists(KINDS, min_size=2, max_size=3), KINDS)
def test_several_teachers_are_followed_in_the_mean_of_their_probabilities(
    some: list[Note], theirs: list[str], ours: str
) -> None:
    teachers = [
        teacher_of(kind, BACKWARDS if n else SCHEME, max_tokens=12 + n, overlap=2)
        for n, kind in enumerate(theirs)
    ]
    alone = [soft(some, ours, teacher) for teacher in teachers]
    for rows, *each in zip(soft(some, ours, *teachers), *alone, strict=True):
        expected = np.mean([np.exp(one.astype(np.float64)) for one in each], axis=0)
        np.testing.assert_allclose(np.exp(rows.astype(np.float64)), expected, atol=2e-3)


def test_tags_are_matched_by_name() -> None:
    some = [Note("n", "patient denies chest pain")]
    (theirs,) = (r.logits for r in teacher_of("wordpiece", BACKWARDS).predictor.read(some))
    (found,) = soft(some, "wordpiece", teacher_of("wordpiece", BACKWARDS))
    for tag in SCHEME.tags:
        expected = log_softmax(theirs)[:, BACKWARDS.index[tag]].astype(np.float16)
        assert np.array_equal(found[:, SCHEME.index[tag]], expected)


def test_a_teacher_surer_than_a_float16_can_say_is_still_finite() -> None:
    class Sure(ToySession):
        def run(self, batch: Batch) -> Logits:
            return np.float32(1e30) * super().run(batch)

    teacher = teacher_of("bytes")
    teacher.predictor = Predictor(toy_encoder(kind="bytes"), SCHEME, Sure(context=True))
    for ours in TOKENIZERS:
        (rows,) = soft([Note("n", "no chest pain")], ours, teacher)
        assert rows.min() == LOWEST
        assert rows.max(axis=1).tolist() == [0] * len(rows)


def test_other_labels_are_refused_before_anything_is_read() -> None:
    teacher = teacher_of("wordpiece", LabelScheme((*SCHEME.types[1:], "ROUTE")))
    with pytest.raises(InputError, match=r"knows DISEASE, ROUTE, SYMPTOM, .*MEDICATION") as error:
        soft_labels([], ENCODERS["bytes"], SCHEME, [teacher_of("bytes"), teacher])
    assert "\n" not in str(error.value)


def test_notes_are_read_in_order_and_no_further_ahead_than_the_predictor_looks() -> None:
    n_given = 0

    def endless() -> Iterator[Note]:
        nonlocal n_given
        while True:
            n_given += 1
            yield Note(f"n{n_given}", "aspirin " * (n_given % 5))

    teacher = teacher_of("wordpiece")
    teacher.predictor = Predictor(teacher.predictor.encoder, SCHEME, ToySession(), batch_tokens=4)
    found = soft_labels(endless(), ENCODERS["wordpiece"], SCHEME, [teacher])
    assert n_given == 0
    for n in range(1, 600):
        assert len(next(found)) == n % 5
        assert n <= n_given <= n + 4 * LOOKAHEAD_BATCHES


# --- a teacher with a CRF ------------------------------------------------------------------------


def crf_tables(scheme: LabelScheme, *, first_pieces: bool, constrained: bool) -> CrfTables:
    random = np.random.default_rng(7)
    n = len(scheme.tags)
    parts = (random.normal(scale=2, size=shape).astype(np.float32) for shape in ((n, n), n, n))
    return CrfTables(*parts, first_pieces, constrained)


def marginals_by_hand(
    logits: NDArray[np.float32], opens: list[bool], tables: CrfTables, scheme: LabelScheme
) -> NDArray[np.float64]:
    """Probabilities (N, C): each sequence of tags of the units is scored, all are added up."""
    n_tags = len(scheme.tags)
    units = [i for i, one in enumerate(opens) if one or not tables.first_pieces]
    out = np.zeros((len(opens), n_tags))
    for tags in itertools.product(range(n_tags), repeat=len(units)):
        steps = list(itertools.pairwise(tags))
        if tables.constrained:
            legal = scheme.allowed_first[tags[0]] and all(scheme.allowed[a, b] for a, b in steps)
            whole = all(
                opens[i] or (a == b == 0) or (b > 0 and b % 2 == 0)
                for i, (a, b) in zip(units[1:], steps, strict=True)
            )
            if not (legal and whole):
                continue
        score = tables.start[tags[0]] + tables.end[tags[-1]]
        score += sum(tables.transitions[a, b] for a, b in steps)
        score += sum(logits[i, tag] for i, tag in zip(units, tags, strict=True))
        of_piece = dict(zip(units, tags, strict=True))
        for i in range(len(opens)):
            if i not in of_piece:  # a word's piece after its first: B goes on as I
                of_piece[i] = of_piece[i - 1] + of_piece[i - 1] % 2
            out[i, of_piece[i]] += np.exp(float(score))
    return out / out.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("first_pieces", [False, True])
@pytest.mark.parametrize("constrained", [False, True])
def test_a_crf_gives_the_marginals_of_the_whole_note(first_pieces: bool, constrained: bool) -> None:
    small = LabelScheme(("DISEASE", "MEDICATION"))
    tables = crf_tables(small, first_pieces=first_pieces, constrained=constrained)
    teacher = teacher_of("wordpiece", small, crf=tables, max_tokens=5, overlap=1)  # three windows
    some = [Note("a", "metforming, antibiotic"), Note("b", ""), Note("c", "aspirin")]
    encoder = ENCODERS["wordpiece"]
    drawn = torch.get_rng_state()
    found = list(soft_labels(some, encoder, small, [teacher]))
    assert torch.equal(torch.get_rng_state(), drawn)
    for rows, reading in zip(found, teacher.predictor.read(some), strict=True):
        opens = reading.encoded.opens_word.tolist()
        assert rows.shape == (len(opens), 5)
        if opens:
            expected = marginals_by_hand(reading.logits, opens, tables, small)
            np.testing.assert_allclose(np.exp(rows.astype(np.float64)), expected, atol=1e-3)
    assert encoder.encode(some[0]).opens_word.tolist() == [True, False, True, True, False]


def test_a_real_student_of_another_tokenizer_is_read(tmp_path: Path) -> None:
    teacher = tiny_student(tmp_path, "roberta")
    some = [item.note for item in invented_set(4)]
    encoder = ENCODERS["wordpiece"]
    found = list(soft_labels(some, encoder, teacher.scheme, [teacher]))
    for note, rows in zip(some, found, strict=True):
        assert rows.shape == (len(encoder.encode(note).ids), len(teacher.scheme.tags))
        assert len({tuple(row) for row in rows.tolist()}) > len(rows) // 2
