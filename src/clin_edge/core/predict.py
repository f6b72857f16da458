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
    not grow with the number of notes. While a session that can have several batches under way is
    busy with some, the next notes are encoded and earlier ones decoded. Answers do not depend on
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
        begun: deque[_Group] = deque()
        under_way: deque[tuple[_Group, Batch, Pending]] = deque()
        try:
            for waiting in self._groups(notes, failed):
                group = self._planned(waiting)
                begun.append(group)
                for batch in batches(
                    group.windows,
                    longest=self.encoder.max_tokens,
                    pad_id=self.encoder.pad_id,
                    batch_tokens=self._batch_tokens,
                ):
                    under_way.append((group, batch, self._session.start(batch)))
                    if len(under_way) >= self._session.at_once:
                        self._take(*under_way.popleft())
                    if begun[0] is not group and not begun[0].n_left:
                        yield from self._readings(begun.popleft())
                # However few batches a group has, two groups are held at most.
                while begun[0] is not group:
                    while begun[0].n_left:
                        self._take(*under_way.popleft())
                    yield from self._readings(begun.popleft())
                if not group.n_left:
                    yield from self._readings(begun.popleft())
            while under_way:
                self._take(*under_way.popleft())
            for group in begun:
                yield from self._readings(group)
        finally:  # the engine reads what it was given until it has answered
            for _, _, pending in under_way:
                with suppress(Exception):
                    pending()
        if failed:
            raise failed[0]

    def _groups(
        self, notes: Iterable[Note], failed: list[Exception]
    ) -> Iterator[list[tuple[Note, Encoded]]]:
        """Yield notes, encoded, in groups that fill batches well; say how ``notes`` failed."""
        waiting: list[tuple[Note, Encoded]] = []
        n_tokens = 0
        source = iter(notes)
        while True:
            try:
                note = next(source)
            except StopIteration:
                break
            except Exception as error:
                failed.append(error)
                break
            encoded = self.encoder.encode(note)
            waiting.append((note, encoded))
            n_tokens += len(encoded.ids)
            # Empty notes count too: a million of them must not wait in memory.
            if n_tokens + len(waiting) >= LOOKAHEAD_BATCHES * self._batch_tokens:
                yield waiting
                waiting, n_tokens = [], 0
        yield waiting

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

    def _readings(self, group: _Group) -> Iterator[Reading]:
        if self.crf is None:
            for note, encoded, logits, coverage in self._whole(group):
                entities = read_entities(encoded, logits, self.scheme)
                yield Reading(note, encoded, logits, entities, coverage)
            return
        whole = list(self._whole(group))
        given = [(encoded, logits) for _, encoded, logits, _ in whole]
        found = find_entities(given, self.crf, self.scheme)
        for (note, encoded, logits, coverage), entities in zip(whole, found, strict=True):
            yield Reading(note, encoded, logits, entities, coverage)

    def _whole(self, group: _Group) -> Iterator[tuple[Note, Encoded, Logits, Coverage]]:
        """Yield each note of a group with its logits (N, C), in order."""
        for (note, encoded), kept in zip(group.waiting, group.kept, strict=True):
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


@dataclass(slots=True, eq=False)
class _Group:
    """Notes whose windows are batched together.

    ``windows`` must be run, ``n_left`` of them still; ``places`` has note and window of each, and
    of those that are the same; ``kept`` has the logits (K, C) of each note's windows so far.
    """

    waiting: list[tuple[Note, Encoded]]
    kept: list[dict[int, Logits]] = field(init=False)
    windows: list[NDArray[np.int64]] = field(default_factory=list)
    places: list[list[tuple[int, int]]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    n_left: int = 0

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
