"""Unlabelled notes to what an encoder learns from: windows with some of their pieces hidden."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One window to guess in: ``ids`` (T,) int64 with special tokens, and each one's word.

    ``words`` (T,) int32: pieces of one word share a number; -1 is never hidden.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int32]


@dataclass(slots=True)
class Passages:
    """The windows of ``n_notes`` notes."""

    windows: list[Passage] = field(default_factory=list)
    n_notes: int = 0

    @property
    def lengths(self) -> list[int]:
        """How many tokens each window has, special ones included."""
        return [len(passage.ids) for passage in self.windows]


@dataclass(frozen=True, slots=True, eq=False)
class Masking:
    """Which pieces are hidden, and behind what.

    A word is chosen with probability ``share``, but one at least. Each of its pieces is then
    shown as ``mask_id`` (80 %), as a piece drawn from ``plain`` (10 %), or as it is (10 %).

    Source: Devlin et al. 2019, section 3.1; whole words as in google-research/bert of May 2019.
    """

    share: float
    mask_id: int
    plain: NDArray[np.int64]
    seed: int

    def hide(
        self, passage: Passage, *, epoch: int, number: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give what is shown (T,) and which places are to be guessed (T,).

        Drawn from seed, epoch and the passage's number alone, so that a resumed run repeats it.
        """
        rng = np.random.default_rng([self.seed, epoch, number])
        words = passage.words
        chosen = (rng.random(words.max() + 1) < self.share)[words] & (words >= 0)
        if not chosen.any():
            chosen = words == rng.choice(np.unique(words[words >= 0]))
        fate = rng.random(len(words))
        shown = passage.ids.copy()
        shown[chosen & (fate < 0.8)] = self.mask_id
        other = chosen & (fate >= 0.8) & (fate < 0.9)
        shown[other] = rng.choice(self.plain, size=other.sum())
        return shown, chosen


def passages_of(
    note: Note, reader: Encoder, special: NDArray[np.int64], *, whole_words: bool
) -> Iterator[Passage]:
    """Yield a note's windows that hold something to guess.

    Without ``whole_words`` each piece is numbered as a word. The ids in ``special`` belong to none:
    what frames a window, and what the tokenizer does not know.
    """
    encoded = reader.encode(note)
    for window in encoded.windows:
        ids = reader.window_ids(encoded, window)
        opens = encoded.opens_word[window.start : window.end]
        words = np.full(len(ids), -1, dtype=np.int32)
        body = slice(reader.n_prefix, reader.n_prefix + len(opens))
        words[body] = np.cumsum(opens if whole_words else np.ones_like(opens))
        words[np.isin(ids, special)] = -1
        if (words >= 0).any():
            yield Passage(ids, words)


def read_passages(
    notes: Iterable[Note],
    reader: Encoder,
    special: NDArray[np.int64],
    *,
    whole_words: bool,
    held_out: float,
) -> tuple[Passages, Passages]:
    """Cut notes into windows; give those to learn, and those of the notes held out.

    Held out are the notes whose id's hash, as a share of all hashes, is below ``held_out``, and in
    any case the one with the lowest. So a note's side does not depend on the notes' order.

    Raises:
        InputError: If nothing is left to learn.
    """
    read: list[tuple[float, list[Passage]]] = []
    for note in notes:
        if windows := list(passages_of(note, reader, special, whole_words=whole_words)):
            read.append((_hash_share(note.id), windows))
    bound = max(held_out, min((share for share, _ in read), default=0.0))
    learnt, held = Passages(), Passages()
    for share, windows in read:
        side = held if share <= bound else learnt
        side.windows += windows
        side.n_notes += 1
    if not learnt.n_notes:
        raise InputError("the notes hold too little text: at least two must hold some")
    return learnt, held


def _hash_share(note_id: str) -> float:
    digest = hashlib.blake2b(note_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
