"""A worker process as its supervisor sees it."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from clin_edge.core.notes import Note
from clin_edge.runtime import frames
from clin_edge.runtime.spawning import end, spawn

PIECES_AHEAD = 4  # pieces of a worker, so that it always knows what comes next


@dataclass(slots=True, eq=False)
class Piece:
    """Notes given to one worker at once: a chunk, or a part of it that is given ``again``.

    Then a worker has nothing else meanwhile: what it fails of is here. ``alone`` is a note that was
    suspected.
    """

    chunk: int
    first: int
    notes: Sequence[Note]
    again: bool = False
    alone: bool = False

    def cut(self, start: int, end: int, *, alone: bool = False) -> list[Piece]:
        """Give the notes from ``start`` to ``end`` as a piece, or nothing if there are none."""
        part = self.notes[start:end]
        return [Piece(self.chunk, self.first + start, part, True, alone)] if part else []


class WorkerProcess:
    """A worker process, and what was last heard of it.

    Attributes:
        pieces: What it was given and has not answered, in order.
        encoding: Which of all its pieces, and which note of it, it said last that it begins to
            encode, unless it has gone on.
    """

    def __init__(
        self,
        order: bytes,
        events: queue.Queue[Any],
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """Give an order to ``process``, or to one that is started.

        What it says, but beats, goes to ``events`` with itself.
        """
        self.process = process or spawn()
        self.pieces: deque[Piece] = deque()
        self.ready = False
        self.fault = "crash"
        self.encoding: tuple[int, int] | None = None
        self._n_answered = 0
        self.given = self.heard = time.monotonic()
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(frames.ORDER, order)

    def has_room(self, piece: Piece) -> bool:
        """Tell whether the worker may be given one more."""
        if not self.ready:
            return False
        if not self.pieces:
            return True
        return not (piece.again or self.pieces[0].again) and len(self.pieces) < PIECES_AHEAD

    def give(self, piece: Piece) -> None:
        """Have the worker read a piece, after those it has."""
        if not self.pieces:
            self.encoding = None
        self.pieces.append(piece)
        self.given = self.heard = time.monotonic()
        self._send(frames.NOTES, frames.pack_notes(piece.notes))

    def answered(self) -> Piece:
        """Take note that the first of its pieces is read, or failed; give that piece."""
        self._n_answered += 1
        return self.pieces.popleft()

    def suspect(self) -> tuple[Piece, int] | None:
        """Give the piece and the place there of the note that was being encoded, if one was."""
        number, place = self.encoding or (-1, 0)
        n_before = number - self._n_answered
        return (self.pieces[n_before], place) if 0 <= n_before < len(self.pieces) else None

    def stop(self) -> None:
        """Kill the process; it has nothing to lose."""
        end(self.process)

    def _send(self, kind: bytes, content: bytes) -> None:
        with suppress(OSError):  # it died: the listener tells
            frames.send(cast(Any, self.process.stdin), kind, content)

    def _listen(self) -> None:
        while True:
            try:
                frame = frames.receive(cast(Any, self.process.stdout))
            except (OSError, ValueError):
                frame = None
            self.heard = time.monotonic()
            if frame is not None and frame[0] == frames.BEAT:
                self.encoding = frames.unpack_place(frame[1]) if frame[1] else None
                continue
            self._events.put((self, frame))
            if frame is None:
                return
