"""A worker process as its supervisor sees it."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from clin_edge.core.notes import Note
from clin_edge.runtime import frames
from clin_edge.runtime.spawning import end, spawn


@dataclass(slots=True, eq=False)
class Piece:
    """Notes given to one worker at once: a chunk, or a part of it that is given again."""

    chunk: int
    first: int
    notes: Sequence[Note]
    alone: bool = False

    def cut(self, start: int, end: int, *, alone: bool = False) -> list[Piece]:
        """Give the notes from ``start`` to ``end`` as a piece, or nothing if there are none."""
        part = self.notes[start:end]
        return [Piece(self.chunk, self.first + start, part, alone)] if part else []


class WorkerProcess:
    """A worker process, and what was last heard of it."""

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
        self.piece: Piece | None = None
        self.ready = False
        self.fault = "crash"
        self.encoding: int | None = None
        self.given = self.heard = time.monotonic()
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(frames.ORDER, order)

    def give(self, piece: Piece) -> None:
        """Have the worker read a piece."""
        self.piece, self.encoding = piece, None
        self.given = self.heard = time.monotonic()
        self._send(frames.NOTES, frames.pack_notes(piece.notes))

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
                self.encoding = int(frame[1]) if frame[1] else None
                continue
            self._events.put((self, frame))
            if frame is None:
                return
