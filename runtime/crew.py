"""Worker processes under watch: none of them can take the run, or another's notes, with it.

A worker that takes too long over a note, takes too much memory, or dies, is killed and replaced.
Its notes are given again: the one it was busy with alone, or the notes in halves if nobody knows
which it was. A note that fails alone too is set aside. What a worker gives does not depend on which
worker it is, or on what else it read.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from clin_edge.core import errors
from clin_edge.core.errors import ClinEdgeError, CoverageError
from clin_edge.core.notes import Note
from clin_edge.runtime import frames
from clin_edge.runtime.frames import Frame, Order
from clin_edge.runtime.memory import resident_bytes
from clin_edge.runtime.outputs import Done
from clin_edge.runtime.worker import NotesReader
from clin_edge.runtime.worker_process import PIECES_AHEAD, Piece, WorkerProcess

_TICK_S = 0.1
_LOAD_S = 600.0  # to load a model from a slow disk
_LONG_CHARS = 100_000
_HOPELESS = 10  # notes that fail before a single one is read: the fault is not theirs


@dataclass(frozen=True, slots=True)
class Limits:
    """What a note may take, in seconds for each 100,000 characters begun, and in bytes of memory.

    Memory is a worker's own, its model included.
    """

    note_timeout_s: float
    memory_bytes: int

    def seconds(self, note: Note) -> float:
        """Give how long this note may take."""
        return self.note_timeout_s * max(1, -(-len(note.text) // _LONG_CHARS))


@dataclass(slots=True, eq=False)
class _Chunk:
    """What is known of a chunk so far."""

    n_notes: int
    n_left: int
    parts: list[tuple[int, dict[str, int], bytes]] = field(default_factory=list)
    aside: list[tuple[int, str, str]] = field(default_factory=list)

    def done(self) -> Done:
        parts = sorted(self.parts, key=lambda part: part[0])
        return Done(
            lines=b"".join(lines for _, _, lines in parts),
            notes=self.n_notes,
            words=sum(tally["words"] for _, tally, _ in parts),
            entities=sum(tally["entities"] for _, tally, _ in parts),
            aside=tuple((note_id, reason) for _, note_id, reason in sorted(self.aside)),
        )


class Alone:
    """Reads chunks in this very process, which nobody watches: what a note does to it is done."""

    def __init__(self, order: Order) -> None:
        """Load what is ordered; see ``worker.NotesReader``."""
        self._reader = NotesReader(order, beat=lambda _: None)

    def loaded(self) -> dict[str, Any]:
        """Give what was loaded."""
        return self._reader.loaded

    def read(self, chunks: Iterable[Sequence[Note]]) -> Iterator[Done]:
        """Read chunks; give what became of each. Any failure raises."""
        sizes: deque[int] = deque()

        def counted() -> Iterator[Sequence[Note]]:
            for notes in chunks:
                sizes.append(len(notes))
                yield notes

        for tally, lines in self._reader.read(counted()):
            yield Done(lines, sizes.popleft(), tally["words"], tally["entities"], ())

    def stop(self) -> None:
        """Do nothing: there is nobody to stop."""


class Crew:
    """Workers that read chunks of notes; what they give comes in order.

    One is there from the beginning, others come when there is enough for them to do.
    """

    def __init__(
        self,
        order: Order,
        *,
        workers: int,
        limits: Limits,
        first: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """Give the order, see ``worker.NotesReader``, to the first of at most so many workers.

        ``first`` is its process if that was started before.
        """
        self._order = order.to_json()
        self._limits = limits
        self._at_most = workers
        self._events: queue.Queue[Any] = queue.Queue()
        self._workers = [WorkerProcess(self._order, self._events, first)]
        self._n_read = self._n_aside = self._n_stillborn = 0

    def loaded(self) -> dict[str, Any]:
        """Wait for the first worker to have loaded its model; give what it says of it.

        Raises:
            ClinEdgeError: As the worker's, or if it dies.
        """
        said = None
        while said is None:
            with suppress(queue.Empty):
                said = self._born(*self._events.get(timeout=_TICK_S))
            self._watch()
        return said

    def read(self, chunks: Iterable[Sequence[Note]]) -> Iterator[Done]:
        """Read chunks; give what became of each, in order.

        If ``chunks`` fails, what came before is read and given first.

        Raises:
            CoverageError: If some character of a note was read by no window.
            ClinEdgeError: If workers cannot load, or no note at all can be read.
        """
        room = threading.Semaphore((PIECES_AHEAD + 1) * self._at_most + 1)
        feeder = threading.Thread(target=self._feed, args=(chunks, room), daemon=True)
        feeder.start()
        todo: deque[Piece] = deque()
        waiting: dict[int, _Chunk] = {}
        n_fed = n_given = 0
        ended, failure = False, None
        while not ended or waiting:
            self._give(todo)
            if len(todo) > 2 * len(self._workers) and len(self._workers) < self._at_most:
                self._workers.append(WorkerProcess(self._order, self._events))
            while n_given in waiting and not waiting[n_given].n_left:
                yield waiting.pop(n_given).done()
                n_given += 1
                room.release()
            if ended and not waiting:
                break
            try:
                source, said = self._events.get(timeout=_TICK_S)
            except queue.Empty:
                source = said = None
            if source is feeder:
                if isinstance(said, Sequence):
                    waiting[n_fed] = _Chunk(len(said), len(said))
                    todo.append(Piece(n_fed, 0, said))
                    n_fed += 1
                else:
                    ended, failure = True, said
            elif source is not None:
                again = self._heard(source, said, waiting)
                todo.extendleft(reversed(again))
            self._watch()
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.stop()

    def _give(self, todo: deque[Piece]) -> None:
        """Give out the next pieces, each to the worker that has the fewest."""
        while todo:
            free = [worker for worker in self._workers if worker.has_room(todo[0])]
            if not free:
                return
            min(free, key=lambda worker: len(worker.pieces)).give(todo.popleft())

    def _feed(self, chunks: Iterable[Sequence[Note]], room: threading.Semaphore) -> None:
        """Read the input beside the work, a few chunks ahead."""
        me = threading.current_thread()
        try:
            for chunk in chunks:
                room.acquire()
                self._events.put((me, chunk))
            self._events.put((me, None))
        except BaseException as error:
            self._events.put((me, error))

    def _heard(
        self, worker: WorkerProcess, frame: Frame | None, waiting: dict[int, _Chunk]
    ) -> list[Piece]:
        """Take what a worker says; give the pieces that must be read again."""
        if worker not in self._workers:
            return []  # it was replaced
        if not worker.pieces:
            self._born(worker, frame)
            return []
        if frame is not None and frame[0] == frames.DONE:
            tally, lines = frames.unpack_done(frame[1])
            piece = worker.answered()
            chunk = waiting[piece.chunk]
            chunk.parts.append((piece.first, tally, lines))
            chunk.n_left -= len(piece.notes)
            self._n_read += len(piece.notes)
            return []
        pieces, suspect = list(worker.pieces), worker.suspect()
        if frame is None:
            reason = worker.fault
            self._replace(worker)
        else:
            reason = "failed"
            said = json.loads(frame[1])
            if said["kind"] == CoverageError.__name__:
                raise CoverageError(said["message"])
            if len(pieces) == 1:
                worker.answered()
            else:
                self._replace(worker)  # or it would read the others before they are given again
        again: list[Piece] = []
        for piece in pieces:
            if len(pieces) == 1 or (suspect is not None and suspect[0] is piece):
                place = None if suspect is None else suspect[1]
                again += self._failed(piece, reason, place, waiting)
            else:
                again += piece.cut(0, len(piece.notes))
        return again

    def _failed(
        self, piece: Piece, reason: str, suspect: int | None, waiting: dict[int, _Chunk]
    ) -> list[Piece]:
        """Give the pieces of a piece that failed, or set its only note aside."""
        n_notes = len(piece.notes)
        if n_notes == 1 and piece.alone:
            chunk = waiting[piece.chunk]
            chunk.aside.append((piece.first, piece.notes[0].id, reason))
            chunk.n_left -= 1
            self._n_aside += 1
            if self._n_aside >= _HOPELESS and not self._n_read:
                raise ClinEdgeError(
                    f"the first {_HOPELESS} notes could not be read ({reason}), so the notes are "
                    "hardly to blame; run clin-edge selftest"
                )
            return []
        if n_notes == 1:
            return piece.cut(0, 1, alone=True)
        if suspect is not None:
            return [
                *piece.cut(0, suspect),
                *piece.cut(suspect, suspect + 1, alone=True),
                *piece.cut(suspect + 1, n_notes),
            ]
        return [*piece.cut(0, n_notes // 2), *piece.cut(n_notes // 2, n_notes)]

    def _born(
        self, worker: WorkerProcess, frame: tuple[bytes, bytes] | None
    ) -> dict[str, Any] | None:
        """Take a worker's first words."""
        if frame is not None and frame[0] == frames.READY:
            worker.ready = True
            loaded: dict[str, Any] = json.loads(frame[1])
            return loaded
        if frame is not None:
            said = json.loads(frame[1])
            raise _as_raised(said["kind"], said["message"])
        self._n_stillborn += 1
        if self._n_stillborn > 3:
            raise ClinEdgeError(
                f"worker processes die before they can work ({worker.fault}); see clin-edge doctor"
            )
        self._replace(worker)
        return None

    def _replace(self, worker: WorkerProcess) -> None:
        worker.stop()
        place = self._workers.index(worker)
        self._workers[place] = WorkerProcess(self._order, self._events)

    def _watch(self) -> None:
        """Kill workers that take too long or too much; their listeners tell of it."""
        now = time.monotonic()
        for worker in self._workers:
            notes = [note for piece in worker.pieces for note in piece.notes]
            if notes:
                limit = max(map(self._limits.seconds, notes))
                since = worker.given if len(notes) == 1 else worker.heard
            elif worker.ready:
                continue
            else:
                limit, since = _LOAD_S, worker.given
            if now - since > limit:
                worker.fault = "time"
            elif (resident_bytes(worker.process.pid) or 0) > self._limits.memory_bytes:
                worker.fault = "memory"
            else:
                continue
            worker.process.kill()


def _as_raised(kind: str, message: str) -> ClinEdgeError:
    """Give the error of a worker as it was raised there."""
    known = getattr(errors, kind, None)
    if not isinstance(known, type) or not issubclass(known, ClinEdgeError):
        return ClinEdgeError(
            f"a worker process failed ({kind}); this is a defect, please report it"
        )
    error = known.__new__(known)
    Exception.__init__(error, message)
    return error
