"""Several batches under way: the same answers, in order, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core import predict
from clin_edge.core.batching import Batch, Logits, Pending
from clin_edge.core.decode import read_entities
from clin_edge.core.notes import Note
from clin_edge.core.predict import LOOKAHEAD_BATCHES, Coverage, Predictor, Reading
from clin_edge.core.repeats import Repeats
from strategies import notes
from toy import ToySession, toy_crf, toy_encoder, toy_scheme

SCHEME = toy_scheme()
LONG = Note("long", "patient takes metformin and aspirin daily. " * 6)


class Several(ToySession):
    """Has up to ``at_once`` batches under way; remembers the most that were, and who was told."""

    def __init__(self, at_once: int) -> None:
        super().__init__(context=True)
        self.at_once = at_once
        self.under_way = self.most = self.n_told = 0

    def start(self, batch: Batch) -> Pending:
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def told() -> Logits:
            self.under_way -= 1
            self.n_told += 1
            return self.run(batch)

        return told


def answers(readings: Iterable[Reading]) -> dict[str, tuple[bytes, tuple, Coverage]]:
    return {r.note.id: (r.logits.tobytes(), tuple(r.entities), r.coverage) for r in readings}


def several(at_once: int, **settings: Any) -> tuple[Several, Predictor]:
    session = Several(at_once)
    return session, Predictor(toy_encoder(), SCHEME, session, **settings)


@given(
    written=notes(4, 15),
    at_once=st.integers(1, 5),
    batch_tokens=st.sampled_from([1, 16, 33, 64, 100, 4096]),
    crf=st.sampled_from([None, toy_crf()]),
    reuse=st.booleans(),
)
def test_answers_are_the_same_with_several_batches_under_way(
    written, at_once, batch_tokens, crf, reuse
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "LOOKAHEAD_BATCHES", 2)  # so that groups meet
        session, work = several(
            at_once, batch_tokens=batch_tokens, crf=crf, repeats=Repeats() if reuse else None
        )
        readings = list(work.read(written))
    one_at_a_time = Predictor(toy_encoder(), SCHEME, ToySession(context=True), crf=crf)
    assert [reading.note for reading in readings] == written
    assert answers(readings) == answers(one_at_a_time.read(written))
    assert (session.under_way, session.most <= at_once) == (0, True)


def test_the_next_notes_are_encoded_while_batches_are_under_way(monkeypatch) -> None:
    monkeypatch.setattr(predict, "LOOKAHEAD_BATCHES", 4)
    session, work = several(3, batch_tokens=64)
    busy: list[int] = []

    def watched() -> Iterator[Note]:
        for i in range(60):
            busy.append(session.under_way)
            yield Note(f"n{i}", LONG.text)

    assert len(list(work.read(watched()))) == 60
    first = busy.index(2)
    assert busy == [0] * first + [2] * (60 - first)
    assert session.most == 3


def test_notes_are_encoded_and_given_little_by_little_while_batches_run(monkeypatch) -> None:
    """So that the network never waits for a whole group of either."""
    monkeypatch.setattr(predict, "LOOKAHEAD_BATCHES", 16)
    session, work = several(3, batch_tokens=64)
    steps: list[str] = []
    start = session.start

    def watched(batch: Batch) -> Pending:
        steps.append("batch")
        return start(batch)

    session.start = watched  # type: ignore[method-assign]

    def given_notes() -> Iterator[Note]:
        for i in range(200):
            steps.append("encoded")
            yield Note(f"n{i}", LONG.text)

    for _ in work.read(given_notes()):
        steps.append("given")
    between = "".join(step[0] for step in steps).strip("eg").split("b")
    assert max(run.count("e") for run in between) <= 4
    later = between[30:-30]
    assert max(run.count("g") for run in later) <= 8 < 200 * 16 / len(between)


def test_notes_are_decoded_in_portions_whatever_a_group_holds(monkeypatch) -> None:
    """So that memory follows a batch and the longest note, not a group."""
    portions: list[int] = []

    def watched(notes, scheme):
        portions.append(sum(len(encoded.ids) for encoded, _ in notes))
        return read_entities(notes, scheme)

    monkeypatch.setattr(predict, "read_entities", watched)
    session, work = several(3, batch_tokens=64)
    assert len(list(work.read(Note(f"n{i}", LONG.text) for i in range(200)))) == 200
    longest = len(work.encoder.encode(LONG).ids)
    assert max(portions) < 4 * 64 + longest < sum(portions) / 4
    assert sum(portions) == 200 * longest
    assert not session.under_way


@pytest.mark.parametrize("how", ["left", "notes", "network"])
def test_batches_under_way_are_waited_for_whatever_happens(how: str, monkeypatch) -> None:
    monkeypatch.setattr(predict, "LOOKAHEAD_BATCHES", 4)
    session, work = several(3, batch_tokens=64)

    def given_notes() -> Iterator[Note]:
        for i in range(60):
            if how == "notes" and i == 40:
                raise RuntimeError("no more")
            yield Note(f"n{i}", LONG.text)

    if how == "network":
        run = session.run

        def failing(batch: Batch) -> Logits:
            if session.n_told > 5:
                raise RuntimeError("no more")
            return run(batch)

        session.run = failing  # type: ignore[method-assign]
    readings = work.read(given_notes())
    if how == "left":
        next(readings)
        assert session.under_way
        readings.close()
    else:
        read: list[Reading] = []
        with pytest.raises(RuntimeError, match="no more"):
            read.extend(readings)
        assert how == "network" or len(read) == 40
    assert session.under_way == 0


def test_two_walks_may_share_a_session() -> None:
    _, work = several(3, batch_tokens=64)
    texts_ = [LONG.text[i:] for i in range(40)]
    alone = [reading.entities for reading in work.read(Note("n", text) for text in texts_)]
    pairs = zip(
        work.read(Note("n", text) for text in texts_),
        work.read(Note("n", text) for text in reversed(texts_)),
        strict=True,
    )
    both = [(one.entities, other.entities) for one, other in pairs]
    assert both == list(zip(alone, reversed(alone), strict=True))


def test_notes_without_windows_do_not_pile_up_behind_a_batch() -> None:
    _, work = several(3, batch_tokens=64)
    pulled = 0

    def given_notes() -> Iterator[Note]:
        nonlocal pulled
        yield Note("first", "pain")
        for pulled in range(1, 100_001):
            yield Note(f"n{pulled}", "")

    readings = work.read(given_notes())
    for n_read in range(100):
        next(readings)
        assert pulled - n_read < 3 * LOOKAHEAD_BATCHES * 64
