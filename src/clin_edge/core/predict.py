"""Notes in, entities out, in order: the one walk that the edge, training and export share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import BATCH_TOKENS, Logits, Session, batches
from clin_edge.core.crf import CrfTables, find_entities
from clin_edge.core.decode import read_entities, stitch
from clin_edge.core.encode import Encoded, Encoder
from clin_edge.core.errors import ClinEdgeError, CoverageError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.repeats import Repeats
from clin_edge.core.spans import Entity
from clin_edge.core.windows import Window

LOOKAHEAD_BATCHES = 128


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many characters a note has, how many some window kept, and how many windows ran."""

    chars: int
    read: int
    windows: int


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the model made of one note: its logits (N, C), its entities, what was covered."""

    note: Note
    encoded: Encoded
    logits: NDArray[np.float32]
    entities: list[Entity]
    coverage: Coverage


class Predictor:
    """An encoder, a label scheme, a session that runs the network, and a CRF if one was trained.

    Looks ahead over about ``LOOKAHEAD_BATCHES`` batches of notes to fill them well, so memory does
    not grow with the number of notes. Answers do not depend on what else is read.
    """

    def __init__(
        self,
        encoder: Encoder,
        scheme: LabelScheme,
        session: Session,
        *,
        batch_tokens: int = BATCH_TOKENS,
        crf: CrfTables | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        """Hold the parts; ``batch_tokens`` bounds a batch, padding included.

        With ``repeats``, windows that were read before are not read again.
        """
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}")
        if crf is not None and len(crf.start) != len(scheme.tags):
            raise ValueError(f"a CRF over {len(crf.start)} tags, a scheme of {len(scheme.tags)}")
        self.encoder = encoder
        self.scheme = scheme
        self._session = session
        self._batch_tokens = batch_tokens
        self.crf = crf
        self._repeats = repeats

    def read(self, notes: Iterable[Note]) -> Iterator[Reading]:
        """Read notes lazily and in order.

        If ``notes`` fails, what came before is read and given first.

        Raises:
            CoverageError: If some character of a note was read by no window.
            ClinEdgeError: If the model answers with something that is not a number.
        """
        waiting: list[tuple[Note, Encoded]] = []
        n_tokens = 0
        source = iter(notes)
        failure: Exception | None = None
        while True:
            try:
                note = next(source)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            encoded = self.encoder.encode(note)
            waiting.append((note, encoded))
            n_tokens += len(encoded.ids)
            # Empty notes count too: a million of them must not wait in memory.
            if n_tokens + len(waiting) >= LOOKAHEAD_BATCHES * self._batch_tokens:
                yield from self._run(waiting)
                waiting, n_tokens = [], 0
        yield from self._run(waiting)
        if failure is not None:
            raise failure

    def _run(self, waiting: Sequence[tuple[Note, Encoded]]) -> Iterator[Reading]:
        if self.crf is None:
            for note, encoded, logits, coverage in self._whole(waiting):
                entities = read_entities(encoded, logits, self.scheme)
                yield Reading(note, encoded, logits, entities, coverage)
            return
        whole = list(self._whole(waiting))
        given = [(encoded, logits) for _, encoded, logits, _ in whole]
        found = find_entities(given, self.crf, self.scheme)
        for (note, encoded, logits, coverage), entities in zip(whole, found, strict=True):
            yield Reading(note, encoded, logits, entities, coverage)

    def _whole(
        self, waiting: Sequence[tuple[Note, Encoded]]
    ) -> Iterator[tuple[Note, Encoded, Logits, Coverage]]:
        """Run the network and yield each note with its logits (N, C), in order."""
        kept: list[dict[int, Logits]] = [{} for _ in waiting]
        for i, w, rows in self._kept_logits([encoded for _, encoded in waiting]):
            kept[i][w] = rows
        for i, (note, encoded) in enumerate(waiting):
            # Coverage counts the windows that ran, not those that were planned.
            ran = [encoded.windows[w] for w in sorted(kept[i])]
            # A note without one token (blanks, dropped characters) has been read by the tokenizer.
            read = sum(map(encoded.chars_kept, ran)) if len(encoded.ids) else encoded.n_chars
            if read != len(note.text) or not _keep_all(ran, len(encoded.ids)):
                raise CoverageError(
                    f"note {note.id!r}: {read:,} of {len(note.text):,} characters were read; "
                    "this is a defect of clin-edge, please report it"
                )
            logits = stitch(encoded, [kept[i][w] for w in sorted(kept[i])], len(self.scheme.tags))
            kept[i].clear()
            yield note, encoded, logits, Coverage(len(note.text), read, len(ran))

    def _kept_logits(self, encoded: Sequence[Encoded]) -> Iterator[tuple[int, int, Logits]]:
        """Run every window; yield note, window, and the logits (K, C) of the tokens it keeps."""
        windows: list[NDArray[np.int64]] = []
        places: list[list[tuple[int, int]]] = []  # of each window, all that are the same
        row_of: dict[bytes, int] = {}
        for i, of_note in enumerate(encoded):
            for w, window in enumerate(of_note.windows):
                ids = self.encoder.window_ids(of_note, window)
                if self._repeats is not None:
                    key = _key(ids, window)
                    known = self._repeats.get(key)
                    if known is not None:
                        yield i, w, known
                        continue
                    row = row_of.setdefault(key, len(windows))
                    if row < len(windows):
                        places[row].append((i, w))
                        continue
                windows.append(ids)
                places.append([(i, w)])
        keys = list(row_of)
        for batch in batches(
            windows,
            longest=self.encoder.max_tokens,
            pad_id=self.encoder.pad_id,
            batch_tokens=self._batch_tokens,
        ):
            logits = self._session.run(batch)
            wanted = (*batch.input_ids.shape, len(self.scheme.tags))
            if logits.shape != wanted:
                raise ClinEdgeError(f"the model gave logits {logits.shape}, expected {wanted}")
            for b, row in enumerate(batch.rows):
                i, w = places[row][0]
                window = encoded[i].windows[w]
                first = self.encoder.n_prefix + window.keep_start - window.start
                rows = logits[b, first : first + window.keep_end - window.keep_start]
                if not np.isfinite(rows).all():
                    raise ClinEdgeError(
                        f"note {encoded[i].note_id!r}: the model gave logits that are not numbers"
                    )
                rows = rows.copy()
                if self._repeats is not None:
                    self._repeats.put(keys[row], rows)
                for i, w in places[row]:
                    yield i, w, rows


def _key(ids: NDArray[np.int64], window: Window) -> bytes:
    """Say what is asked of the network: which ids it reads, and which of them are wanted."""
    kept = (window.keep_start - window.start, window.keep_end - window.start)
    return np.concatenate([kept, ids], dtype=np.int32, casting="same_kind").tobytes()


def _keep_all(windows: Sequence[Window], n_tokens: int) -> bool:
    """Tell whether the windows keep tokens 0 to ``n_tokens`` in order, each once."""
    bounds = [0, *(w.keep_end for w in windows)]
    return bounds[-1] == n_tokens and [w.keep_start for w in windows] == bounds[:-1]
