"""A worker as ``clin_edge.runtime.worker`` is, to which some notes are poison.

A text that holds HANG never comes to an end, GREEDY takes memory without end, SEGV kills the
process, RAISE raises with the text as message; LATE- before any of them does so when the network
runs, where nobody can tell which note it was, and NEXT- when the next note is encoded, if there is
one, while the network is busy with this: that one is suspected.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import Any

from clin_edge.core.encode import Encoded, Encoder
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.runtime import worker

_POISON = ("HANG", "GREEDY", "SEGV", "RAISE", "QUIT")


def act(poison: str, text: str) -> None:
    """Do to this process what a poison does."""
    print(f"printed by a library: {text}", file=sys.stderr, flush=True)
    if poison == "HANG":
        time.sleep(3600)
    if poison == "GREEDY":
        held: list[bytes] = []
        while True:
            held.append(os.urandom(1 << 20) * 32)
            time.sleep(0.01)
    if poison == "SEGV":
        os.kill(os.getpid(), getattr(signal, "SIGSEGV", signal.SIGTERM))
    if poison == "QUIT":
        os._exit(0)
    raise RuntimeError(text)


def main() -> None:
    """Serve as the real worker does."""
    encode: Any = Encoder.encode
    planned: Any = Predictor._planned
    before = ""

    def poisoned_encode(self: Encoder, note: Note) -> Encoded:
        nonlocal before
        for poison in _POISON:
            if f"NEXT-{poison}" in before:
                act(poison, before)
            if re.search(f"(?<!-){poison}", note.text):
                act(poison, note.text)
        before = note.text
        return encode(self, note)

    def poisoned_planned(self: Predictor, waiting: Any) -> Any:
        for note, _ in waiting:
            for poison in _POISON:
                if re.search(f"-{poison}", note.text):
                    beat(self)
                    act(poison, note.text)
        return planned(self, waiting)

    Encoder.encode = poisoned_encode  # type: ignore[method-assign]
    Predictor._planned = poisoned_planned  # type: ignore[method-assign]
    worker.main()


def beat(predictor: Predictor) -> None:
    """Say what the session says before a batch: no note is being encoded."""
    session: Any = predictor._session
    session._beat(b"")


if __name__ == "__main__":
    main()
