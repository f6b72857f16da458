"""Calibration sees what the runtime will see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.batching import Batch
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.export.calibrate import N_WINDOWS, calibration_batches
from strategies import notes
from toy import TOKENIZERS, ToySession, toy_encoder, toy_scheme

ENCODERS = {kind: toy_encoder(kind=kind) for kind in TOKENIZERS}
KINDS = pytest.mark.parametrize("kind", ["wordpiece", "bytes"])


class Listening(ToySession):
    """Remembers each row and its mask, as they were padded."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[list[int], list[int]]] = []

    def run(self, batch: Batch):
        self.heard += rows_of(batch)
        return super().run(batch)


def rows_of(batch: Batch) -> list[tuple[list[int], list[int]]]:
    return list(zip(batch.input_ids.tolist(), batch.attention_mask.tolist(), strict=True))


@KINDS
@given(written=notes())
def test_all_windows_are_those_the_runtime_runs_padded_alike(kind: str, written) -> None:
    encoder, session = ENCODERS[kind], Listening()
    list(Predictor(encoder, toy_scheme(), session, batch_tokens=64).read(written))
    made = calibration_batches(written, encoder, n_windows=10_000)
    assert sorted(row for batch in made for row in rows_of(batch)) == sorted(session.heard)
    assert {batch.input_ids.shape[0] for batch in made} <= {1}


@given(written=notes(), n_windows=st.integers(1, 8), seed=st.integers(0, 3))
def test_a_draw_takes_so_many_of_them_each_once(written, n_windows: int, seed: int) -> None:
    encoder = ENCODERS["wordpiece"]
    every = [b.input_ids.tolist() for b in calibration_batches(written, encoder, n_windows=9999)]
    made = calibration_batches(written, encoder, n_windows=n_windows, seed=seed)
    drawn = [batch.input_ids.tolist() for batch in made]
    assert len(drawn) == min(n_windows, len(every))
    for ids in drawn:
        every.remove(ids)
    again = calibration_batches(written, encoder, n_windows=n_windows, seed=seed)
    assert drawn == [batch.input_ids.tolist() for batch in again]


def test_windows_are_drawn_from_all_the_notes_not_the_first_ones() -> None:
    encoder = ENCODERS["wordpiece"]
    written = [Note(f"n{i}", f"pain {i % 10} {i // 10 % 10} {i // 100}") for i in range(600)]
    made = calibration_batches(written, encoder)
    assert len(made) == N_WINDOWS
    place = {encoder.window_ids(e, e.windows[0]).tobytes(): i for i, e in _encoded(written)}
    drawn = [place[b.input_ids[b.attention_mask == 1].tobytes()] for b in made]
    assert 240 < sum(drawn) / len(drawn) < 360
    assert len(set(drawn)) == N_WINDOWS


def _encoded(written: list[Note]):
    return enumerate(map(ENCODERS["wordpiece"].encode, written))


def test_notes_without_a_token_give_nothing() -> None:
    assert calibration_batches([], ENCODERS["wordpiece"]) == []
    assert calibration_batches([Note("n", ""), Note("m", " \n")], ENCODERS["wordpiece"]) == []
