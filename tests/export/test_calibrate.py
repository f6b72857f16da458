"""Calibration sees what the runtime will see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.batching import Batch
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.export.calibrate import N_WINDOWS, calibration_batches, enough_windows
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


@given(written=notes(), n_windows=st.integers(1, 8))
def test_a_choice_takes_so_many_of_them_each_once(written, n_windows: int) -> None:
    encoder = ENCODERS["wordpiece"]
    every = [b.input_ids.tolist() for b in calibration_batches(written, encoder, n_windows=9999)]
    made = calibration_batches(written, encoder, n_windows=n_windows)
    chosen = [batch.input_ids.tolist() for batch in made]
    assert len(chosen) == min(n_windows, len(every))
    for ids in chosen:
        every.remove(ids)


def test_windows_are_chosen_from_all_the_notes_not_the_first_ones() -> None:
    encoder = ENCODERS["wordpiece"]
    written = [Note(f"n{i}", f"pain {i % 10} {i // 10 % 10} {i // 100}") for i in range(600)]
    made = calibration_batches(written, encoder)
    assert len(made) == N_WINDOWS
    place = {encoder.window_ids(e, e.windows[0]).tobytes(): i for i, e in _encoded(written)}
    chosen = [place[b.input_ids[b.attention_mask == 1].tobytes()] for b in made]
    assert 290 < sum(chosen) / len(chosen) < 310
    assert len(set(chosen)) == N_WINDOWS


def test_all_lengths_and_all_parts_of_a_note_have_their_share() -> None:
    encoder = ENCODERS["wordpiece"]
    written = [Note(f"s{i}", "pain 1") for i in range(300)]
    written += [Note(f"l{i}", " ".join(f"pain {j % 10}" for j in range(90))) for i in range(20)]
    n_long = sum(len(encoder.encode(note).windows) for note in written[300:])
    n_each = n_long // 20
    assert n_each >= 4
    made = calibration_batches(written, encoder, n_windows=(300 + n_long) // 4)
    lengths = [int(batch.attention_mask.sum()) for batch in made]
    assert abs(lengths.count(4) - 75) <= 1  # two words between [CLS] and [SEP]
    assert len(made) - lengths.count(4) > 75
    opening = encoder.window_ids(e := encoder.encode(written[-1]), e.windows[0]).tolist()
    n_opening = sum(b.input_ids[b.attention_mask == 1].tolist() == opening for b in made)
    assert abs(n_opening - 20 / 4) <= 1


def _encoded(written: list[Note]):
    return enumerate(map(ENCODERS["wordpiece"].encode, written))


def test_notes_without_a_token_give_nothing() -> None:
    assert calibration_batches([], ENCODERS["wordpiece"]) == []
    assert calibration_batches([Note("n", ""), Note("m", " \n")], ENCODERS["wordpiece"]) == []


def test_a_large_model_is_calibrated_on_fewer_windows_never_on_a_handful() -> None:
    sizes = [2_000_000, 30_000_000, 110_000_000, 340_000_000, 10**11]
    chosen = [enough_windows(size) for size in sizes]
    assert chosen[0] == chosen[1] == N_WINDOWS
    assert chosen[2] * 110 <= N_WINDOWS * 30  # no more work than for the smaller one
    assert chosen == sorted(chosen, reverse=True)
    assert min(chosen) == 60
