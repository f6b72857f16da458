"""Text to token ids as a BERT tokenizer cuts it, each chunk between blanks looked up if known."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

T = TypeVar("T", bound=np.generic)

LONGEST = 48  # characters of a chunk that is remembered
MOST_KNOWN = 65_536  # chunks; then all are forgotten, some 20 MB
Cut = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""Ids (N,), places (N, 2) in code points, and which tokens (N,) open a word."""


class ChunkCutter:
    """Cuts text with a tokenizer, of every chunk between blanks only once.

    What BERT's normaliser and pre-tokenizer do to a character depends on no other beyond the next
    blank, tab or line break, so a text is cut as its chunks are, each by itself. Notes are made of
    few different chunks, and to look one up takes a fraction of the time of cutting it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Hold a tokenizer that ``cuts_by_chunks``, set up as it is to be used."""
        self._tokenizer = tokenizer
        self._lowers = tokenizer.normalizer.lowercase
        self._plain = Tokenizer(tokenizer.model)  # without the normaliser; the model is one
        self._plain.pre_tokenizer = tokenizer.pre_tokenizer
        self._known = _Known()
        self._learning = threading.Lock()

    def cut(self, text: str) -> Cut | None:
        """Cut a text; None if a chunk is too long for this."""
        chunks = text.replace("\t", " ").replace("\n", " ").replace("\r", " ").split(" ")
        lengths, starts = _places_of(chunks)
        if lengths.max() > LONGEST:
            return None
        known = self._known  # another thread may begin anew meanwhile
        rows = known.rows_of(chunks)
        places = np.flatnonzero(rows < 0)
        if len(places):
            with self._learning:
                if len(known.rows) > MOST_KNOWN:
                    self._known = known = _Known()
                    places = np.arange(len(chunks))
                unknown = [chunks[i] for i in places.tolist()]
                new = [chunk for chunk in dict.fromkeys(unknown) if chunk not in known.rows]
                if new:
                    known.learn(new, self._encode)
            rows[places] = known.rows_of(unknown)
        return known.lay_out(rows, starts)

    def _encode(self, text: str) -> Encoding:
        """Cut a text; BERT's normaliser does nothing to printable ASCII but take away capitals."""
        if text.isascii() and text.isprintable():
            plain = text.lower() if self._lowers else text
            return self._plain.encode(plain, add_special_tokens=False)
        return self._tokenizer.encode(text, add_special_tokens=False)


def cuts_by_chunks(tokenizer: Tokenizer) -> bool:
    """Say whether a tokenizer is one of BERT's, which no blank, tab or line break joins over."""
    return (
        isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.model, WordPiece)
        and all(token.special for token in tokenizer.get_added_tokens_decoder().values())
    )


def opens_word(text: str, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each token (N,) whether a word begins with it, or it is part of none.

    Words are runs of letters, digits and combining marks, whatever the tokenizer thinks they are.
    """
    opens = np.ones(len(offsets), dtype=bool)
    touching = np.flatnonzero(offsets[1:, 0] <= offsets[:-1, 1]) + 1
    opens[touching] = [
        not (start and _in_word(text[start - 1]) and _in_word(text[start : start + 1]))
        for start in offsets[touching, 0].tolist()
    ]
    return opens


def _in_word(character: str) -> bool:
    return character.isalnum() or (character != "" and unicodedata.combining(character) != 0)


def _places_of(chunks: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the lengths of chunks, and where each starts in a text that blanks join them to."""
    lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
    return lengths, np.cumsum(lengths + 1) - lengths - 1


class _Known:
    """The pieces of chunks, one chunk's after another's."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {"": 0}
        self._ids = np.empty(1024, dtype=np.int64)
        self._places = np.empty((1024, 2), dtype=np.int64)
        self._opens = np.empty(1024, dtype=bool)
        self._firsts = np.zeros(1024, dtype=np.int64)
        self._counts = np.zeros(1024, dtype=np.int64)
        self._n_pieces = 0

    def rows_of(self, chunks: Sequence[str]) -> NDArray[np.int64]:
        """Say in which row each chunk is; -1 if it is not known."""
        return np.fromiter(map(self.rows.get, chunks, repeat(-1)), np.int64, len(chunks))

    def learn(self, chunks: Sequence[str], encode: Callable[[str], Encoding]) -> None:
        """Cut chunks that are not known, all at once."""
        text = " ".join(chunks)
        encoding = encode(text)
        places = np.fromiter(chain.from_iterable(encoding.offsets), np.int64).reshape(-1, 2)
        _, starts = _places_of(chunks)
        firsts = np.searchsorted(places[:, 0], starts)
        counts = np.diff(firsts, append=len(places))
        pieces = slice(self._n_pieces, self._n_pieces + len(places))
        new = slice(len(self.rows), len(self.rows) + len(chunks))
        self._ids = _with_room(self._ids, pieces.stop)
        self._places = _with_room(self._places, pieces.stop)
        self._opens = _with_room(self._opens, pieces.stop)
        self._firsts = _with_room(self._firsts, new.stop)
        self._counts = _with_room(self._counts, new.stop)
        self._ids[pieces] = encoding.ids
        self._places[pieces] = places - np.repeat(starts, counts)[:, None]
        self._opens[pieces] = opens_word(text, places)
        self._firsts[new], self._counts[new] = firsts + pieces.start, counts
        self._n_pieces = pieces.stop
        self.rows.update(zip(chunks, range(new.start, new.stop), strict=True))

    def lay_out(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Cut:
        """Give a text's cut, its chunks in their rows, where these begin in the text."""
        counts = self._counts[rows]
        ends = np.cumsum(counts)
        total = int(ends[-1])
        at = np.repeat(self._firsts[rows] - (ends - counts), counts) + np.arange(total)
        places = self._places[at] + np.repeat(starts, counts)[:, None]
        return self._ids[at], places, self._opens[at]


def _with_room(array: NDArray[T], wanted: int) -> NDArray[T]:
    """Give the array, or a copy of twice or more its size, with room for so many rows."""
    if wanted <= len(array):
        return array
    more = np.zeros((max(len(array), wanted - len(array)), *array.shape[1:]), dtype=array.dtype)
    return np.concatenate([array, more])
