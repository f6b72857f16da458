"""Text to token ids, once a note, the same way in training and at the edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clin_edge.core.chunks import ChunkCutter, Cut, cuts_by_chunks, opens_word
from clin_edge.core.errors import BundleError
from clin_edge.core.notes import Note
from clin_edge.core.windows import Window, paragraph_starts, plan_passages


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A whole note as N tokens, without the model's special ones, and its windows.

    ``ids`` (N,) int64; ``offsets`` (N, 2) int64, code points of the note, never decreasing;
    ``opens_word`` (N,) bool: false for a token that goes on with the word of the one before.
    """

    note_id: str
    n_chars: int
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    opens_word: NDArray[np.bool_]
    windows: tuple[Window, ...]

    def chars_kept(self, window: Window) -> int:
        """Count the note's characters that ``window`` answers for.

        Each token answers for the characters from its start up to the next token's, the first one
        also for what precedes it: so blanks, and characters the tokenizer drops, belong to the
        token before them.
        """
        start = self.offsets[window.keep_start, 0] if window.keep_start else 0
        end = self.n_chars
        if window.keep_end < len(self.ids):
            end = self.offsets[window.keep_end, 0]
        return int(end - start)


class Encoder:
    """A tokenizer and a window plan.

    Each window the model sees is at most ``max_tokens`` long, special tokens included, and shares
    at least ``overlap`` tokens with the next one of its passage; passages have at least
    ``passage_tokens``, and with 0 a note is one. Text that spells a special token (``[SEP]``) is
    read as plain text.

    Raises:
        BundleError: If the tokenizer cannot be read or leaves no room for text.
    """

    def __init__(
        self, tokenizer_json: bytes, *, max_tokens: int, overlap: int, passage_tokens: int = 0
    ) -> None:
        """Read a ``tokenizer.json``."""
        with _told_as("tokenizer.json cannot be read; copy the bundle again, or export it anew"):
            tokenizer = Tokenizer.from_buffer(tokenizer_json)
            tokenizer.no_truncation()
            tokenizer.no_padding()
            framed = tokenizer.encode("a", add_special_tokens=True)
        plain = [i for i, special in enumerate(framed.special_tokens_mask) if not special]
        first, past = (plain[0], plain[-1] + 1) if plain else (len(framed.ids), len(framed.ids))
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._chunks = ChunkCutter(tokenizer) if cuts_by_chunks(tokenizer) else None
        self._prefix = np.array(framed.ids[:first], dtype=np.int64)
        self._suffix = np.array(framed.ids[past:], dtype=np.int64)
        pad = tokenizer.token_to_id("[PAD]")
        self.pad_id: int = pad if pad is not None else tokenizer.token_to_id("<pad>") or 0
        mask = tokenizer.token_to_id("[MASK]")
        self.mask_id: int | None = mask if mask is not None else tokenizer.token_to_id("<mask>")
        self.max_tokens = max_tokens
        self.overlap = overlap
        self.passage_tokens = passage_tokens
        self._room = max_tokens - len(self._prefix) - len(self._suffix)
        if not 0 <= overlap < self._room:
            raise BundleError(f"windows of {max_tokens} tokens have no room for {overlap} shared")

    @property
    def n_prefix(self) -> int:
        """How many special tokens stand before a window's text."""
        return len(self._prefix)

    def encode(self, note: Note) -> Encoded:
        """Encode the whole note once.

        Raises:
            BundleError: If the tokenizer fails, or its offsets run backwards or leave the text.
        """
        with _told_as(f"note {note.id!r}: the bundle's tokenizer cannot read it"):
            ids, offsets, opens_word = self._cut(note.text)
        flat_ok = (offsets[:, 0] <= offsets[:, 1]).all() and (offsets[1:] >= offsets[:-1]).all()
        if len(ids) and not (flat_ok and offsets[0, 0] >= 0 and offsets[-1, 1] <= len(note.text)):
            raise BundleError(f"note {note.id!r}: the tokenizer gives places that are not in order")
        windows = plan_passages(
            np.searchsorted(offsets[:, 0], self._paragraphs(note.text)).tolist(),
            len(ids),
            size=self._room,
            overlap=self.overlap,
            least=self.passage_tokens,
        )
        return Encoded(note.id, len(note.text), ids, offsets, opens_word, tuple(windows))

    def _cut(self, text: str) -> Cut:
        cut = None if self._chunks is None else self._chunks.cut(text)
        if cut is not None:
            return cut
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        return np.array(encoding.ids, dtype=np.int64), offsets, opens_word(text, offsets)

    def _paragraphs(self, text: str) -> list[int]:
        return paragraph_starts(text) if self.passage_tokens else []

    def window_ids(self, encoded: Encoded, window: Window) -> NDArray[np.int64]:
        """Give what the model reads for ``window``: its ids between the special tokens, (T,)."""
        body = encoded.ids[window.start : window.end]
        return np.concatenate([self._prefix, body, self._suffix])


@contextmanager
def _told_as(message: str) -> Iterator[None]:
    """Turn whatever tokenizers raises into a ``BundleError``; its own words may quote the text.

    Its errors are bare ``Exception``; its panics derive from ``BaseException``.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, MemoryError) or not (
            isinstance(error, Exception) or type(error).__name__ == "PanicException"
        ):
            raise
        raise BundleError(message) from None
