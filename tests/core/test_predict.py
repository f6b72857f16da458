"""The walk from notes to entities: same answer in any company, every character read, lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core import windows as core_windows
from clin_edge.core.batching import Batch, Session
from clin_edge.core.crf import CrfTables, find_entities
from clin_edge.core.decode import read_entities
from clin_edge.core.errors import ClinEdgeError, CoverageError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.predict import LOOKAHEAD_BATCHES, Coverage, Predictor, Reading
from clin_edge.core.windows import Window
from strategies import notes, texts
from toy import ToySession, toy_crf, toy_encoder, toy_scheme

SCHEME = toy_scheme()
CRFS = (None, toy_crf())
HEADS = pytest.mark.parametrize("crf", CRFS, ids=["linear", "crf"])
KINDS = pytest.mark.parametrize("kind", ["wordpiece", "bytes"])
BATCH_TOKENS = st.sampled_from([1, 16, 33, 64, 100, 4096])
LONG = Note("long", "patient takes metformin and aspirin daily. " * 6)


def predictor(
    kind: str = "wordpiece", batch_tokens: int = 4096, crf: CrfTables | None = None
) -> Predictor:
    session = ToySession(context=True)
    return Predictor(toy_encoder(kind=kind), SCHEME, session, batch_tokens=batch_tokens, crf=crf)


def answers(readings: Iterator[Reading]) -> dict[str, tuple[bytes, tuple, Coverage]]:
    return {r.note.id: (r.logits.tobytes(), tuple(r.entities), r.coverage) for r in readings}


def one_window_at_a_time(note: Note, kind: str) -> np.ndarray:
    """The logits of a note with nothing batched, padded or stitched by the code under test."""
    encoder, session = toy_encoder(kind=kind), ToySession(context=True)
    encoded = encoder.encode(note)
    rows = np.full((len(encoded.ids), session.n_tags), np.nan, dtype=np.float32)
    for window in encoded.windows:
        ids = encoder.window_ids(encoded, window)[None]
        logits = session.run(Batch(ids, np.ones_like(ids), (0,)))[0]
        for token in range(window.keep_start, window.keep_end):
            rows[token] = logits[encoder.n_prefix + token - window.start]
    return rows


# --- the same answer in any company --------------------------------------------------------------


@KINDS
@given(written=notes(4, 15), batch_tokens=BATCH_TOKENS, crf=st.sampled_from(CRFS))
def test_readings_are_those_of_each_window_run_alone(kind, written, batch_tokens, crf) -> None:
    readings = list(predictor(kind, batch_tokens, crf).read(written))
    assert [r.note for r in readings] == written
    for reading in readings:
        expected = one_window_at_a_time(reading.note, kind)
        assert reading.logits.tolist() == expected.tolist()
        if crf is None:
            assert [reading.entities] == read_entities([(reading.encoded, expected)], SCHEME)
        else:
            assert [reading.entities] == find_entities([(reading.encoded, expected)], crf, SCHEME)


@KINDS
@given(written=notes(4, 15), data=st.data(), one=BATCH_TOKENS, other=BATCH_TOKENS)
def test_order_neighbours_and_batch_size_do_not_change_an_answer(kind, written, data, one, other):
    crf = data.draw(st.sampled_from(CRFS))
    together = answers(predictor(kind, one, crf).read(written))
    shuffled = data.draw(st.permutations(written))
    assert answers(predictor(kind, other, crf).read(shuffled)) == together
    for note in written[:2]:
        assert answers(predictor(kind, crf=crf).read([note]))[note.id] == together[note.id]


def test_a_network_that_finds_nothing_gives_no_entities_and_one_that_finds_all_gives_many() -> None:
    class Always(Session):
        def __init__(self, tag: int) -> None:
            self.tag = tag

        def run(self, batch: Batch) -> np.ndarray:
            logits = np.zeros((*batch.input_ids.shape, 7), np.float32)
            logits[..., self.tag] = 20
            return logits

    note = Note("n", "pain\r\n fever")
    (nothing,) = Predictor(toy_encoder(), SCHEME, Always(0)).read([note])
    (all_,) = Predictor(toy_encoder(), SCHEME, Always(5)).read([note])
    assert nothing.entities == []
    found = [(note.text[e.span.start : e.span.end], e.label) for e in all_.entities]
    assert found == [("pain", "SYMPTOM"), ("fever", "SYMPTOM")]
    assert all(e.score > 0.999 for e in all_.entities)


def test_batches_stay_within_the_budget_and_are_nearly_full() -> None:
    session = ToySession()
    work = Predictor(toy_encoder(), SCHEME, session, batch_tokens=64)
    list(work.read([Note(f"n{i}", LONG.text) for i in range(100)]))
    sizes = [b * t for b, t in session.shapes]
    assert max(sizes) == 64
    assert sum(sizes) / len(sizes) > 0.95 * 64


def test_a_crf_over_other_tags_is_refused() -> None:
    other = LabelScheme(("MEDICATION",))
    with pytest.raises(ValueError, match="a CRF over 7 tags, a scheme of 3"):
        Predictor(toy_encoder(), other, ToySession(3), crf=toy_crf())


@pytest.mark.parametrize("batch_tokens", [0, -1])
def test_a_batch_of_no_tokens_is_refused(batch_tokens: int) -> None:
    with pytest.raises(ValueError, match="batch_tokens must be at least 1"):
        predictor(batch_tokens=batch_tokens)


# --- every character is read ---------------------------------------------------------------------


@KINDS
@given(text=texts())
def test_coverage_is_complete_for_any_text(kind: str, text: str) -> None:
    (reading,) = predictor(kind).read([Note("n", text)])
    expected = Coverage(len(text), len(text), len(reading.encoded.windows))
    assert reading.coverage == expected


@HEADS
@pytest.mark.parametrize("text", ["", " ", "\r\n\t\u3000", "\x00\u200d"])
def test_empty_and_blank_notes_come_out_with_nothing_in_them(text: str, crf) -> None:
    around = [Note("before", "pain"), Note("n", text), Note("after", "fever")]
    before, reading, after = predictor(crf=crf).read(around)
    assert (before.note.id, after.note.id) == ("before", "after")
    assert reading.entities == []
    assert reading.logits.shape == (0, 7)
    assert reading.coverage == Coverage(len(text), len(text), 0)


def test_no_notes_give_no_readings_and_the_network_is_not_asked() -> None:
    session = ToySession()
    assert list(Predictor(toy_encoder(), SCHEME, session).read([])) == []
    assert list(Predictor(toy_encoder(), SCHEME, session).read([Note("n", " ")]))
    assert session.shapes == []


def without(i: int) -> Callable[[list[Window]], list[Window]]:
    return lambda windows: [w for w in windows if w is not windows[i]]


def kept(*shifts: tuple[int, int, int]) -> Callable[[list[Window]], list[Window]]:
    """Move where window i's kept tokens begin and end."""

    def shift(windows: list[Window]) -> list[Window]:
        windows = list(windows)
        for i, by_start, by_end in shifts:
            w = windows[i]
            windows[i] = Window(w.start, w.end, w.keep_start + by_start, w.keep_end + by_end)
        return windows

    return shift


BROKEN_PLANS = {
    "no windows": lambda _: [],
    "first window lost": without(0),
    "middle window lost": without(1),
    "last window lost": without(-1),
    "a window comes twice": lambda windows: [*windows[:2], *windows[1:]],
    "windows in the wrong order": lambda windows: [windows[1], windows[0], *windows[2:]],
    "first token not kept": kept((0, 1, 0)),
    "last token not kept": kept((-1, 0, -1)),
    "a token between two windows not kept": kept((0, 0, -1)),
    "a token kept twice": kept((1, -1, 0)),
    "one token kept twice and another not at all": kept((0, 0, 1), (1, 0, -1)),
}


@HEADS
@pytest.mark.parametrize("broken", BROKEN_PLANS.values(), ids=BROKEN_PLANS)
def test_a_run_on_a_broken_plan_fails_rather_than_skip_text(monkeypatch, broken, crf) -> None:
    plan = core_windows.plan_windows
    text = "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h"
    whole = [Note("good", "pain"), Note("n", text)]
    assert len(list(predictor(crf=crf).read(whole))) == 2

    def break_long_ones(n_tokens: int, *, size: int, overlap: int) -> list[Window]:
        windows = plan(n_tokens, size=size, overlap=overlap)
        return broken(windows) if n_tokens > 1 else windows

    monkeypatch.setattr(core_windows, "plan_windows", break_long_ones)
    reading = predictor(crf=crf).read(whole)
    assert next(reading).note.id == "good"
    with pytest.raises(CoverageError, match="note 'n': ") as caught:
        next(reading)
    assert "a b c" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_token_without_characters_that_no_window_keeps_fails_too(monkeypatch) -> None:
    """An emoji is four tokens with one place: losing the last loses no character, yet a row."""
    plan = core_windows.plan_windows
    lost: list[int] = []

    def skip(n_tokens: int, *, size: int, overlap: int) -> list[Window]:
        first, *others = plan(n_tokens, size=size, overlap=overlap)
        lost.append(first.keep_end - 1)
        return [Window(first.start, first.end, 0, first.keep_end - 1), *others]

    monkeypatch.setattr(core_windows, "plan_windows", skip)
    note = Note("n", "a" + "🙂" * 20)
    with pytest.raises(CoverageError):
        list(predictor("bytes").read([note]))
    before, gone, after = toy_encoder(kind="bytes").encode(note).offsets[lost[0] - 1 :][:3].tolist()
    assert before == gone == after


class Tampered(ToySession):
    """A toy network whose answers are changed before they are given."""

    def __init__(self, change: Callable[[np.ndarray, Batch], np.ndarray]) -> None:
        super().__init__()
        self.change = change

    def run(self, batch: Batch) -> np.ndarray:
        return self.change(super().run(batch), batch)


def poison(value: float) -> Callable[[np.ndarray, Batch], np.ndarray]:
    def change(logits: np.ndarray, batch: Batch) -> np.ndarray:
        logits[-1, batch.attention_mask[-1].sum() - 2, 3] = value  # the last token of the text
        return logits

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_numbers_are_refused(value: float) -> None:
    work = Predictor(toy_encoder(), SCHEME, Tampered(poison(value)))
    with pytest.raises(ClinEdgeError, match="note 'n': the model gave logits that are not numbers"):
        list(work.read([Note("n", "Zebulon has pain")]))


@pytest.mark.parametrize(
    "change",
    [
        lambda logits, _: logits[:, :-1],
        lambda logits, _: logits[..., :-1],
        lambda logits, _: logits[1:],
        lambda logits, _: np.concatenate([logits, logits], axis=-1),
        lambda logits, _: logits[0],
    ],
)
def test_logits_of_a_wrong_shape_are_refused(change) -> None:
    work = Predictor(toy_encoder(), SCHEME, Tampered(change))
    with pytest.raises(ClinEdgeError, match=r"the model gave logits \(.*, expected \(2, 16, 7\)"):
        list(work.read([Note("n", "pain"), Note("m", "fever")]))


def test_what_stands_in_the_padding_means_nothing() -> None:
    def spoil(logits: np.ndarray, batch: Batch) -> np.ndarray:
        logits[batch.attention_mask == 0] = np.nan
        return logits

    written = [Note("n", "pain"), LONG]
    expected = answers(Predictor(toy_encoder(), SCHEME, ToySession()).read(written))
    assert answers(Predictor(toy_encoder(), SCHEME, Tampered(spoil)).read(written)) == expected


# --- lazily --------------------------------------------------------------------------------------


@HEADS
@pytest.mark.parametrize("text", ["a b c d e f g h", "", "  \r\n"])
@pytest.mark.parametrize("batch_tokens", [1, 64])
def test_only_a_bounded_number_of_notes_is_pulled_ahead(text: str, batch_tokens: int, crf) -> None:
    """However many there are, and also if none of them has a token."""
    pulled = 0

    def endless() -> Iterator[Note]:
        nonlocal pulled
        while pulled < 100_000:
            pulled += 1
            yield Note(f"n{pulled}", text)

    readings = predictor(batch_tokens=batch_tokens, crf=crf).read(endless())
    assert pulled == 0
    for n_read in range(1, 1500):
        next(readings)
        assert pulled - n_read < 3 * LOOKAHEAD_BATCHES * batch_tokens


@HEADS
def test_a_bad_note_stops_the_run_only_after_those_before_it(crf) -> None:
    def failing() -> Iterator[Note]:
        for i in range(100):
            yield Note(f"n{i}", "a b c d e f g h")
        raise RuntimeError("no more")

    readings = predictor(batch_tokens=16, crf=crf).read(failing())
    assert [next(readings).note.id for _ in range(100)] == [f"n{i}" for i in range(100)]
    with pytest.raises(RuntimeError, match="no more"):
        next(readings)
