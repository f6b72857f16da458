"""Which pieces an encoder must guess: how many, of what, and which never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.distill.masking import Masking, Passage, passages_of, read_passages
from strategies import texts
from toy import toy_encoder

SPECIAL = np.arange(5)  # both toy tokenizers begin with them
MASK = 4
KINDS = pytest.mark.parametrize("kind", ["wordpiece", "bytes"])


def masking(share: float = 0.15, *, seed: int = 0) -> Masking:
    return Masking(share, MASK, np.arange(len(SPECIAL), 100), seed)


def passages(text: str, kind: str = "wordpiece", *, whole_words: bool = True) -> list[Passage]:
    encoder = toy_encoder(16, 0, kind=kind)
    return list(passages_of(Note("n", text), encoder, SPECIAL, whole_words=whole_words))


def long_passage(n: int) -> Passage:
    """``n`` pieces, each a word, between two special tokens."""
    ids = np.concatenate([[2], np.full(n, 50), [3]])
    return Passage(ids, np.concatenate([[-1], np.arange(n), [-1]]).astype(np.int32))


# --- what is hidden ------------------------------------------------------------------------------


@KINDS
@given(text=texts(), share=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_words_are_hidden_whole_and_special_tokens_never(
    kind: str, text: str, share: float, seed: int
) -> None:
    encoder = toy_encoder(16, 0, kind=kind)
    encoded = encoder.encode(Note("n", text))
    kept = iter(passages(text, kind))
    for number, window in enumerate(encoded.windows):
        ids = encoder.window_ids(encoded, window)
        if set(ids.tolist()) <= set(SPECIAL.tolist()):
            continue  # nothing in it could be guessed
        passage = next(kept)
        assert passage.ids.tolist() == ids.tolist()
        shown, chosen = masking(share, seed=seed).hide(passage, epoch=1, number=number)
        assert chosen.any()
        assert shown[~chosen].tolist() == ids[~chosen].tolist()
        assert not np.isin(ids[chosen], SPECIAL).any()
        assert not set(shown[chosen].tolist()) & (set(SPECIAL.tolist()) - {MASK})
        frame = encoder.n_prefix
        assert not chosen[:frame].any()
        assert not chosen[frame + window.end - window.start :].any()
        for i in range(window.start + 1, window.end):
            here = frame + i - window.start
            known = not np.isin(ids[here - 1 : here + 1], SPECIAL).any()
            if known and not encoded.opens_word[i]:
                assert chosen[here] == chosen[here - 1]
    assert next(kept, None) is None


def test_without_whole_words_pieces_are_drawn_one_by_one() -> None:
    (passage,) = passages("antibiotics", whole_words=False)  # anti ##biotic ##s
    assert passage.words.tolist() == [-1, 1, 2, 3, -1]
    (whole,) = passages("antibiotics")
    assert whole.words.tolist() == [-1, 1, 1, 1, -1]
    draws = [masking(0.5).hide(passage, epoch=1, number=n)[1] for n in range(40)]
    assert {1, 2, 3} == {int(chosen.sum()) for chosen in draws}


def test_shares_are_those_of_the_source() -> None:
    passage = long_passage(40_000)
    shown, chosen = masking(0.15).hide(passage, epoch=1, number=0)
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    hidden = shown[chosen]
    assert (hidden == MASK).mean() == pytest.approx(0.8, abs=0.02)
    others = hidden[(hidden != MASK) & (hidden != 50)]
    assert len(others) / len(hidden) == pytest.approx(0.1, abs=0.02)
    # Drawn evenly from all but the special ones.
    counts = np.bincount(others, minlength=100)
    assert not counts[: len(SPECIAL)].any()
    assert (np.delete(counts, [*SPECIAL, 50]) > 0).all()


def test_a_word_at_least_is_hidden_in_every_window() -> None:
    (passage,) = passages("met met")
    alone = [masking(1e-9).hide(passage, epoch=1, number=n)[1].tolist() for n in range(40)]
    assert all(sum(chosen) == 1 for chosen in alone)
    assert {chosen.index(True) for chosen in alone} == {1, 2}


def test_draws_depend_on_seed_epoch_and_window_alone() -> None:
    def drawn(seed: int, epoch: int, number: int) -> bytes:
        shown, chosen = masking(seed=seed).hide(long_passage(200), epoch=epoch, number=number)
        return shown.tobytes() + chosen.tobytes()

    places = [(0, 1, 1), (1, 1, 1), (0, 2, 1), (0, 1, 2)]
    assert len({drawn(*place) for place in places}) == len(places)
    assert [drawn(*place) for place in places] == [drawn(*place) for place in places]


def test_what_the_tokenizer_does_not_know_is_nothing_to_learn() -> None:
    (passage,) = passages("pain Ω pain")
    assert passage.ids.tolist()[2] == 1  # [UNK]
    assert passage.words.tolist() == [-1, 1, -1, 3, -1]
    assert passages("Ω Ω") == []
    (spelled,) = passages("[MASK]")  # as text, this is no special token
    assert (spelled.words >= 0).sum() == len(spelled.ids) - 2


# --- what is held out ----------------------------------------------------------------------------


def sides(ids: list[str], held_out: float) -> tuple[set[str], set[str]]:
    """The ids learnt and held out; each note is one window whose length tells its id."""
    by_length = {n + 1: note_id for n, note_id in enumerate(ids)}
    notes = [Note(note_id, "pain " * n) for n, note_id in by_length.items()]
    encoder = toy_encoder(2 + len(ids), 0)
    both = read_passages(notes, encoder, SPECIAL, whole_words=True, held_out=held_out)
    learnt, held = ({by_length[n - 2] for n in side.lengths} for side in both)
    assert [side.n_notes for side in both] == [len(learnt), len(held)]
    return learnt, held


def test_a_note_is_held_out_by_its_id_whatever_its_neighbours() -> None:
    ids = [f"n{i}" for i in range(60)]
    learnt, held = sides(ids, 0.3)
    assert learnt | held == set(ids)
    assert not learnt & held
    assert len(held) == pytest.approx(18, abs=8)
    assert sides(ids[::-1], 0.3) == (learnt, held)
    assert sides(ids, 0.5)[1] > held
    fewer = ids[:30]
    assert sides(fewer, 0.3) == (learnt & set(fewer), held & set(fewer))


def test_one_note_at_least_is_held_out_and_one_learnt() -> None:
    ids = [f"n{i}" for i in range(10)]
    learnt, held = sides(ids, 0.0)
    assert (len(learnt), len(held)) == (9, 1)
    assert held <= sides(ids, 0.5)[1]
    encoder = toy_encoder(16, 0)
    text = Note("a", "pain")
    for few in ([], [text], [text, Note("b", " \n")], [Note("b", ""), Note("c", "Ω")]):
        with pytest.raises(InputError, match="too little text"):
            read_passages(few, encoder, SPECIAL, whole_words=True, held_out=0.02)
