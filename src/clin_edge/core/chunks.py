"""Text to token ids as a BERT tokenizer cuts it, each chunk between blanks looked up if known."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

T = TypeVar("T", bound=np.generic)

LONGEST = 48  # characters of a chunk that is remembered
MOST_KNOWN = 65_536  # chunks; then all are forgotten, some 20 MB
_WORD = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
_Pieces = tuple[Sequence[int], Sequence[tuple[int, int]]]
Cut = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""Ids (N,), places (N, 2) in code points, and which tokens (N,) open a word."""
_TABS = str.maketrans("\t\n\r", "   ")


class ChunkCutter:
    """Cuts text with a tokenizer, of every chunk between blanks only once.

    What BERT's normaliser and pre-tokenizer do to a character depends on no other beyond the next
    blank, tab or line break, so a text is cut as its chunks are, each by itself. Notes are made of
    few different chunks, and to look one up takes a tenth of the time of cutting it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Hold a tokenizer that ``cuts_by_chunks``, set up as it is to be used."""
        self._tokenizer = tokenizer
        self._known = _Known()
        self._learning = threading.Lock()

    def cut(self, text: str) -> Cut | None:
        """Cut a text; None if a chunk is too long for this."""
        chunks = text.translate(_TABS).split(" ")
        lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
        if lengths.max() > LONGEST:
            return None
        known = self._known  # another thread may begin anew meanwhile
        rows = list(map(known.rows.get, chunks))
        if None in rows:
            if len(known.rows) > MOST_KNOWN:
                self._known = known = _Known()
                rows = list(map(known.rows.get, chunks))
            with self._learning:
                rows = [
                    self._learn(known, chunk) if row is None else row
                    for chunk, row in zip(chunks, rows, strict=True)
                ]
        starts = np.cumsum(lengths + 1) - lengths - 1
        return known.lay_out(np.array(rows, dtype=np.int64), starts)

    def _learn(self, known: _Known, chunk: str) -> int:
        row = known.rows.get(chunk)  # twice in one text, or learnt by another thread
        if row is not None:
            return row
        if not (chunk.isascii() and chunk.isprintable()):
            return known.add(chunk, *self._pieces(chunk))
        # Of chunks in ASCII each sign is a word, and so is each run of letters and digits.
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        for word in _WORD.finditer(chunk):
            pieces = known.words.get(word[0])
            if pieces is None:
                pieces = known.words[word[0]] = self._pieces(word[0])
            at = word.start()
            ids += pieces[0]
            places += [(at + start, at + end) for start, end in pieces[1]]
        return known.add(chunk, ids, places)

    def _pieces(self, text: str) -> _Pieces:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets


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
    for i in touching.tolist():
        start = int(offsets[i, 0])
        opens[i] = not (start and _in_word(text[start - 1]) and _in_word(text[start : start + 1]))
    return opens


def _in_word(character: str) -> bool:
    return character.isalnum() or (character != "" and unicodedata.combining(character) != 0)


class _Known:
    """The pieces of chunks, one chunk's after another's."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {"": 0}
        self.words: dict[str, _Pieces] = {}
        self._ids = np.empty(1024, dtype=np.int64)
        self._places = np.empty((1024, 2), dtype=np.int64)
        self._opens = np.empty(1024, dtype=bool)
        self._firsts = np.zeros(1024, dtype=np.int64)
        self._counts = np.zeros(1024, dtype=np.int64)
        self._n_pieces = 0
        self._n_rows = 1

    def add(self, chunk: str, ids: Sequence[int], places: Sequence[tuple[int, int]]) -> int:
        first, end, row = self._n_pieces, self._n_pieces + len(ids), self._n_rows
        while end > len(self._ids):
            self._ids, self._places = _doubled(self._ids), _doubled(self._places)
            self._opens = _doubled(self._opens)
        if row == len(self._counts):
            self._firsts, self._counts = _doubled(self._firsts), _doubled(self._counts)
        self._ids[first:end] = ids
        self._places[first:end] = np.array(places, dtype=np.int64).reshape(-1, 2)
        self._opens[first:end] = opens_word(chunk, self._places[first:end])
        self._firsts[row], self._counts[row] = first, len(ids)
        self._n_pieces, self._n_rows = end, row + 1
        self.rows[chunk] = row
        return row

    def lay_out(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Cut:
        """Give a text's cut, its chunks in their rows, where these begin in the text."""
        counts = self._counts[rows]
        ends = np.cumsum(counts)
        total = int(ends[-1])
        at = np.repeat(self._firsts[rows] - (ends - counts), counts) + np.arange(total)
        places = self._places[at] + np.repeat(starts, counts)[:, None]
        return self._ids[at], places, self._opens[at]


def _doubled(array: NDArray[T]) -> NDArray[T]:
    return np.concatenate([array, np.zeros_like(array)])
