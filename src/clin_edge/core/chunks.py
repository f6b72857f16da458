"""Text to token ids as a BERT tokenizer cuts it, each chunk between blanks looked up if known."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

LONGEST = 48  # characters of a chunk that is remembered
MOST_KNOWN = 65_536  # chunks; then all are forgotten, some 20 MB
_WORD = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
_Pieces = tuple[Sequence[int], Sequence[tuple[int, int]]]
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

    def cut(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Give ids (N,) and places (N, 2), code points; None if a chunk is too long for this."""
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
            return known.add(chunk, *self._cut(chunk))
        # Of chunks in ASCII each sign is a word, and so is each run of letters and digits.
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        for word in _WORD.finditer(chunk):
            pieces = known.words.get(word[0])
            if pieces is None:
                pieces = known.words[word[0]] = self._cut(word[0])
            at = word.start()
            ids += pieces[0]
            places += [(at + start, at + end) for start, end in pieces[1]]
        return known.add(chunk, ids, places)

    def _cut(self, text: str) -> _Pieces:
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


class _Known:
    """The pieces of chunks, one chunk's after another's."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {"": 0}
        self.words: dict[str, _Pieces] = {}
        self._ids = np.empty(1024, dtype=np.int64)
        self._places = np.empty((1024, 2), dtype=np.int64)
        self._firsts = np.zeros(1024, dtype=np.int64)
        self._counts = np.zeros(1024, dtype=np.int64)
        self._n_pieces = 0
        self._n_rows = 1

    def add(self, chunk: str, ids: Sequence[int], places: Sequence[tuple[int, int]]) -> int:
        first, end, row = self._n_pieces, self._n_pieces + len(ids), self._n_rows
        while end > len(self._ids):
            self._ids, self._places = _doubled(self._ids), _doubled(self._places)
        if row == len(self._counts):
            self._firsts, self._counts = _doubled(self._firsts), _doubled(self._counts)
        self._ids[first:end] = ids
        self._places[first:end] = np.array(places, dtype=np.int64).reshape(-1, 2)
        self._firsts[row], self._counts[row] = first, len(ids)
        self._n_pieces, self._n_rows = end, row + 1
        self.rows[chunk] = row
        return row

    def lay_out(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give ids and places of chunks that begin at ``starts``."""
        counts = self._counts[rows]
        ends = np.cumsum(counts)
        total = int(ends[-1])
        at = np.repeat(self._firsts[rows] - (ends - counts), counts) + np.arange(total)
        return self._ids[at], self._places[at] + np.repeat(starts, counts)[:, None]


def _doubled(array: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([array, np.zeros_like(array)])
