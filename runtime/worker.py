"""A process that reads notes for a supervisor, and may be killed at any moment without loss.

Run as ``python -m clin_edge.runtime.worker``; see ``frames`` for what it is told and answers. It
writes no file but, before any note comes, the model as compiled; and it says nothing on stderr:
what libraries print there might quote a note.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from clin_edge.core.batching import Batch, Logits, Pending, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError, ClinEdgeError
from clin_edge.core.manifest import MODEL_FILES
from clin_edge.core.notes import Note
from clin_edge.runtime import frames
from clin_edge.runtime.frames import Frame
from clin_edge.runtime.pipeline import Pipeline, open_default_or, open_session
from clin_edge.runtime.writers import Format, format_named


def main() -> None:
    """Serve the supervisor at the other end of stdin and stdout until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor is interrupted, and stops us
    _leave_no_core()
    given, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    if not os.environ.get("CLIN_EDGE_DEBUG"):
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
    # OpenVINO's converter is a third of what importing it takes, and a worker converts nothing.
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
    told: queue.Queue[Frame] = queue.Queue()
    threading.Thread(target=_listen, args=(given, told), daemon=True).start()
    try:
        _, content = told.get()
        order = frames.Order.from_json(content)
        reader = NotesReader(order, beat=lambda place: frames.send(answers, frames.BEAT, place))
        frames.send(answers, frames.READY, json.dumps(reader.loaded).encode())
        while True:
            first = told.get()
            try:
                for tally, lines in reader.read(_pieces(first, told)):
                    frames.send(answers, frames.DONE, frames.pack_done(tally, lines))
            except OSError:
                raise
            except Exception as error:
                frames.send(answers, frames.FAILED, _failure(error))
    except OSError:  # nobody listens any more
        os._exit(1)
    except Exception as error:
        frames.send(answers, frames.FAILED, _failure(error))
        os._exit(1)


class NotesReader:
    """A pipeline and a format, loaded as ordered.

    ``beat`` is told that all is well: the place of each note, see ``frames.pack_place``, before it
    is encoded, and nothing before each batch and after each note.
    """

    def __init__(self, order: frames.Order, *, beat: Callable[[bytes], None]) -> None:
        """Load what was ordered; raises as ``Pipeline.from_bundle`` does."""
        self._order = order
        self._beat = beat
        bundle = open_default_or(order.bundle)
        if bundle.manifest_sha256 != order.manifest_sha256:
            raise BundleError(f"{bundle.path}: was changed while it was in use")
        session = open_session(bundle, engine=order.engine, threads=order.threads, keep=True)
        self._pipeline = Pipeline(
            _without_model(bundle),
            _Beating(session, self._beat),
            batch_tokens=order.batch_tokens,
            reuse=order.reuse,
        )
        self._format: Format = format_named(order.fmt, with_text=order.with_text, day=order.day)
        self.loaded = {"engine": session.name}
        self._n_pieces = 0

    def read(self, pieces: Iterable[Sequence[Note]]) -> Iterator[tuple[dict[str, int], bytes]]:
        """Give, of each piece in turn, how many words and entities its notes have, and their lines.

        They are read as one stream: later pieces are begun before earlier ones are done.
        """
        sizes: deque[int] = deque()
        words = entities = 0
        lines: list[str] = []
        for record in self._pipeline.records(
            self._each(pieces, sizes), min_score=self._order.min_score, context=self._order.context
        ):
            self._beat(b"")
            words += len(record.note.text.split())
            entities += len(record.entities)
            lines.append(self._format.line(record))
            if len(lines) == sizes[0]:
                sizes.popleft()
                yield {"words": words, "entities": entities}, "".join(lines).encode()
                words = entities = 0
                lines = []

    def _each(self, pieces: Iterable[Sequence[Note]], sizes: deque[int]) -> Iterator[Note]:
        for notes in pieces:
            sizes.append(len(notes))
            number, self._n_pieces = self._n_pieces, self._n_pieces + 1
            for place, note in enumerate(notes):
                self._beat(frames.pack_place(number, place))
                yield note


def _without_model(bundle: Bundle) -> Bundle:
    """Leave out the model's bytes, of which the engine has its own by now."""
    models = {name for names in MODEL_FILES.values() for name in names}
    kept = {name: content for name, content in bundle.files.items() if name not in models}
    return replace(bundle, files=kept)


class _Beating(Session):
    """A session that tells before each batch that it lives."""

    def __init__(self, session: Session, beat: Callable[[bytes], None]) -> None:
        self.at_once = session.at_once
        self._session = session
        self._beat = beat

    def run(self, batch: Batch) -> Logits:
        self._beat(b"")
        return self._session.run(batch)

    def start(self, batch: Batch) -> Pending:
        self._beat(b"")
        return self._session.start(batch)


def _pieces(first: Frame, told: queue.Queue[Frame]) -> Iterator[list[Note]]:
    """Give the notes of a frame, and of those that have come by the time they are asked for."""
    frame = first
    with suppress(queue.Empty):
        while True:
            yield frames.unpack_notes(frame[1])
            frame = told.get_nowait()


def _listen(given: IO[bytes], told: queue.Queue[Frame]) -> None:
    """Pass frames on; leave at once, work or not, when the supervisor is gone."""
    while (frame := frames.receive(given)) is not None:
        told.put(frame)
    os._exit(0)


def _failure(error: Exception) -> bytes:
    """Say what went wrong; a foreign exception's message may quote a note, and is left out."""
    message = str(error) if isinstance(error, ClinEdgeError) else ""
    return json.dumps({"kind": type(error).__name__, "message": message}).encode()


def _leave_no_core() -> None:
    """Keep the system from writing this process's memory to a file should it crash."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # That does not bind a system that pipes cores to a program: give it no memory to keep.
    with suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0")


if __name__ == "__main__":
    main()
