"""Notes in, entities out, in order: the one walk that the edge, training and export share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import BATCH_TOKENS, Batch, Logits, Pending, Session, batches
from clin_edge.core.crf import CrfTables, find_entities
from clin_edge.core.decode import read_entities, stitch
from clin_edge.core.encode import Encoded, Encoder
from clin_edge.core.errors import ClinEdgeError, CoverageError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.repeats import Repeats
from clin_edge.core.spans import Entity
from clin_edge.core.windows import Window

LOOKAHEAD_BATCHES = 64
_FIRST_BATCHES = 16  # of the first group, so that the network soon has something to do
_BATCHES_TOGETHER = 4  # notes of so many batches' tokens are decoded together, which is quicker


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

    Windows of a group of notes, about ``LOOKAHEAD_BATCHES`` batches of them, are sorted by length:
    batches are well filled, and hardly ever of another shape than the one before, for which an
    engine must plan anew. While they are run, batch by batch, the next group is encoded and the
    one before decoded, as much of both as of the batches is done: what the network does not do is
    done beside it, and memory does not grow with the number of notes. Answers do not depend on
    what else is read.
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
        failed: list[Exception] = []
        ahead = _Ahead(self._encoded(notes, failed))
        under_way: deque[tuple[_Group, Batch, Pending]] = deque()
        earlier: _Group | None = None
        most = LOOKAHEAD_BATCHES * self._batch_tokens
        size = min(_FIRST_BATCHES * self._batch_tokens, most)
        try:
            ahead.fill(size)
            while waiting := ahead.take():
                group = self._planned(waiting)
                size = min(2 * size, most)
                for batch, share in self._batches(group):
                    under_way.append((group, batch, self._session.start(batch)))
                    if len(under_way) < self._session.at_once:
                        continue
                    self._take(*under_way.popleft())
                    ahead.fill(share * size)
                    if earlier is not None and not earlier.n_left:
                        yield from self._readings(earlier, share)
                if earlier is not None:
                    while earlier.n_left:
                        self._take(*under_way.popleft())
                    yield from self._readings(earlier)
                ahead.fill(size)
                earlier = group
            while under_way:
                self._take(*under_way.popleft())
            if earlier is not None:
                yield from self._readings(earlier)
        finally:  # the engine reads what it was given until it has answered
            for _, _, pending in under_way:
                with suppress(Exception):
                    pending()
        if failed:
            raise failed[0]

    def _encoded(
        self, notes: Iterable[Note], failed: list[Exception]
    ) -> Iterator[tuple[Note, Encoded]]:
        """Encode notes; say how ``notes`` failed."""
        source = iter(notes)
        while True:
            try:
                note = next(source)
            except StopIteration:
                return
            except Exception as error:
                failed.append(error)
                return
            yield note, self.encoder.encode(note)

    def _batches(self, group: _Group) -> Iterator[tuple[Batch, float]]:
        """Yield the batches of a group, and what share of its tokens is begun with each."""
        n_tokens, n_begun = sum(map(len, group.windows)), 0
        for batch in batches(
            group.windows,
            longest=self.encoder.max_tokens,
            pad_id=self.encoder.pad_id,
            batch_tokens=self._batch_tokens,
        ):
            n_begun += sum(len(group.windows[row]) for row in batch.rows)
            yield batch, n_begun / n_tokens

    def _planned(self, waiting: list[tuple[Note, Encoded]]) -> _Group:
        """Say which windows of a group must be run; the others are answered already."""
        group = _Group(waiting)
        row_of: dict[bytes, int] = {}
        for i, (_, encoded) in enumerate(waiting):
            for w, window in enumerate(encoded.windows):
                ids = self.encoder.window_ids(encoded, window)
                if self._repeats is not None:
                    key = _key(ids, window)
                    known = self._repeats.get(key)
                    if known is not None:
                        group.kept[i][w] = known
                        continue
                    row = row_of.setdefault(key, len(group.windows))
                    if row < len(group.windows):
                        group.places[row].append((i, w))
                        continue
                group.windows.append(ids)
                group.places.append([(i, w)])
        group.keys = list(row_of)
        group.n_left = len(group.windows)
        return group

    def _take(self, group: _Group, batch: Batch, pending: Pending) -> None:
        """Wait for the logits of a batch, and keep those (K, C) of the tokens its windows keep."""
        logits = pending()
        wanted = (*batch.input_ids.shape, len(self.scheme.tags))
        if logits.shape != wanted:
            raise ClinEdgeError(f"the model gave logits {logits.shape}, expected {wanted}")
        for b, row in enumerate(batch.rows):
            i, w = group.places[row][0]
            encoded = group.waiting[i][1]
            window = encoded.windows[w]
            first = self.encoder.n_prefix + window.keep_start - window.start
            rows = logits[b, first : first + window.keep_end - window.keep_start]
            if not np.isfinite(rows).all():
                raise ClinEdgeError(
                    f"note {encoded.note_id!r}: the model gave logits that are not numbers"
                )
            rows = rows.copy()
            if self._repeats is not None:
                self._repeats.put(group.keys[row], rows)
            for i, w in group.places[row]:
                group.kept[i][w] = rows
        group.n_left -= len(batch.rows)

    def _readings(self, group: _Group, share: float = 1) -> Iterator[Reading]:
        """Yield readings of a group whose windows have run, portion by portion.

        With less than all of it as ``share``, of its first so many notes those that fill portions.
        """
        end = int(share * len(group.waiting))
        while group.n_given < end:
            start = past = group.n_given
            missing = _BATCHES_TOGETHER * self._batch_tokens
            while missing > 0 and past < end:
                missing -= len(group.waiting[past][1].ids)
                past += 1
            if missing > 0 and share < 1:
                return
            group.n_given = past
            yield from self._decoded(group, start, past)

    def _decoded(self, group: _Group, start: int, end: int) -> Iterator[Reading]:
        """Yield the readings of notes ``start`` to ``end`` of a group, decoded together."""
        whole, failed = [], None
        try:
            for one in self._whole(group, start, end):
                whole.append(one)
        except CoverageError as error:  # what came before is given first
            failed = error
        given = [(encoded, logits) for _, encoded, logits, _ in whole]
        if self.crf is None:
            found = read_entities(given, self.scheme)
        else:
            found = find_entities(given, self.crf, self.scheme)
        for (note, encoded, logits, coverage), entities in zip(whole, found, strict=True):
            yield Reading(note, encoded, logits, entities, coverage)
        if failed is not None:
            raise failed

    def _whole(
        self, group: _Group, start: int, end: int
    ) -> Iterator[tuple[Note, Encoded, Logits, Coverage]]:
        """Yield notes ``start`` to ``end`` of a group with their logits (N, C), in order."""
        for i in range(start, end):
            (note, encoded), kept = group.waiting[i], group.kept[i]
            # Coverage counts the windows that ran, not those that were planned.
            ran = [encoded.windows[w] for w in sorted(kept)]
            # A note without one token (blanks, dropped characters) has been read by the tokenizer.
            read = sum(map(encoded.chars_kept, ran)) if len(encoded.ids) else encoded.n_chars
            if read != len(note.text) or not _keep_all(ran, len(encoded.ids)):
                raise CoverageError(
                    f"note {note.id!r}: {read:,} of {len(note.text):,} characters were read; "
                    "this is a defect of clin-edge, please report it"
                )
            logits = stitch(encoded, [kept[w] for w in sorted(kept)], len(self.scheme.tags))
            kept.clear()
            yield note, encoded, logits, Coverage(len(note.text), read, len(ran))


class _Ahead:
    """Notes that are encoded, and wait for their windows to be batched."""

    def __init__(self, source: Iterator[tuple[Note, Encoded]]) -> None:
        self._source = source
        self._notes: list[tuple[Note, Encoded]] = []
        self._size = 0

    def fill(self, size: float) -> None:
        """Encode notes until they have ``size`` tokens together."""
        while self._size < size and (item := next(self._source, None)) is not None:
            self._notes.append(item)
            # Empty notes count too: a million of them must not wait in memory.
            self._size += len(item[1].ids) + 1

    def take(self) -> list[tuple[Note, Encoded]]:
        notes, self._notes, self._size = self._notes, [], 0
        return notes


@dataclass(slots=True, eq=False)
class _Group:
    """Notes whose windows are batched together.

    ``windows`` must be run, ``n_left`` of them still; ``places`` has note and window of each, and
    of those that are the same; ``kept`` has the logits (K, C) of each note's windows so far. The
    readings of ``n_given`` notes are given.
    """

    waiting: list[tuple[Note, Encoded]]
    kept: list[dict[int, Logits]] = field(init=False)
    windows: list[NDArray[np.int64]] = field(default_factory=list)
    places: list[list[tuple[int, int]]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    n_left: int = 0
    n_given: int = 0

    def __post_init__(self) -> None:
        self.kept = [{} for _ in self.waiting]


def _key(ids: NDArray[np.int64], window: Window) -> bytes:
    """Say what is asked of the network: which ids it reads, and which of them are wanted."""
    kept = (window.keep_start - window.start, window.keep_end - window.start)
    return np.concatenate([kept, ids], dtype=np.int32, casting="same_kind").tobytes()


def _keep_all(windows: Sequence[Window], n_tokens: int) -> bool:
    """Tell whether the windows keep tokens 0 to ``n_tokens`` in order, each once."""
    bounds = [0, *(w.keep_end for w in windows)]
    return bounds[-1] == n_tokens and [w.keep_start for w in windows] == bounds[:-1]
