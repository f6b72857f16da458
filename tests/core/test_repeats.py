"""Windows read before: the same answers, fewer windows run, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor, Reading
from clin_edge.core.repeats import Repeats
from toy import ToySession, toy_encoder, toy_scheme

A = "aspirin for the pain " * 3
B = "no fever, no cough " * 4
CHART = [A, f"{A}\n\n{B}", f"{B}\n\n{A}", f"{A}\n\n{B}\n\n{A}", "new text " * 9, A]


class Counting(Session):
    def __init__(self) -> None:
        self.windows = 0
        self._session = ToySession()

    def run(self, batch: Batch) -> Logits:
        self.windows += len(batch.rows)
        return self._session.run(batch)


def read(
    texts: list[str], repeats: Repeats | None, *, batch_tokens: int = 64
) -> tuple[list[Reading], int]:
    session = Counting()
    work = Predictor(
        toy_encoder(max_tokens=48, passage_tokens=4),
        toy_scheme(),
        session,
        batch_tokens=batch_tokens,
        repeats=repeats,
    )
    notes = [Note(str(i), text) for i, text in enumerate(texts)]
    return list(work.read(notes)), session.windows


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
@pytest.mark.parametrize("at_most", [0, 3_000, 10**9])
def test_what_is_remembered_is_what_would_be_computed(batch_tokens: int, at_most: int) -> None:
    plain, n_plain = read(CHART * 3, None, batch_tokens=batch_tokens)
    reused, n_reused = read(CHART * 3, Repeats(at_most), batch_tokens=batch_tokens)
    for one, other in zip(plain, reused, strict=True):
        assert one.note == other.note
        assert one.entities == other.entities
        assert one.coverage == other.coverage
        assert one.logits.tobytes() == other.logits.tobytes()
    assert n_reused <= n_plain


def test_a_passage_that_notes_repeat_is_read_once() -> None:
    readings, n_plain = read(CHART * 3, None)
    _, n_reused = read(CHART * 3, Repeats(10**9))
    assert n_plain == sum(r.coverage.windows for r in readings)
    # A, B and the new text, wherever they stand and whatever comes before or after.
    assert n_reused == sum(read([text], None)[1] for text in (A, B, CHART[4]))
    assert n_plain >= 3 * n_reused


def test_what_is_read_but_not_kept_alike_is_another_window() -> None:
    """The network reads the same ids twice, and another part of them is wanted."""
    repeats = Repeats(10**9)
    long = "word " * 100
    plain, _ = read([long, long + "more " * 50], None)
    reused, _ = read([long, long + "more " * 50], repeats)
    assert [r.logits.tobytes() for r in plain] == [r.logits.tobytes() for r in reused]


def test_memory_is_bounded_and_the_latest_stay() -> None:
    repeats = Repeats(10_000)
    answer = np.zeros((10, 7), dtype=np.float32)
    keys = [str(i).encode() for i in range(1_000)]
    repeats.put(b"asked often", answer)
    for key in keys:
        repeats.put(key, answer)
        assert repeats.get(b"asked often") is answer
    kept = [key for key in keys if repeats.get(key) is not None]
    assert kept == keys[-len(kept) :]
    assert 0 < len(kept) * answer.nbytes <= 10_000


def test_with_no_bytes_nothing_is_remembered() -> None:
    repeats = Repeats(0)
    repeats.put(b"key", np.zeros((1, 7), dtype=np.float32))
    assert repeats.get(b"key") is None
