"""Where what was read goes, chunk by chunk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from clin_edge.runtime.writers.partial import cannot_write


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a chunk of notes.

    Attributes:
        lines: What is written of them.
        notes: How many they are, those set aside included.
        words: How many words the others have.
        entities: How many entities are written.
        aside: Id and reason code of each note that was set aside.
    """

    lines: bytes
    notes: int
    words: int = 0
    entities: int = 0
    aside: tuple[tuple[str, str], ...] = ()


class Output(Protocol):
    """A place for chunks; a context manager that lets go of it. See ``DurableOutput``."""

    notes: int
    words: int
    entities: int
    aside: list[tuple[str, str]]
    finished: bool

    def __enter__(self) -> Self:
        """Give itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of the place."""
        ...

    def add(self, done: Done) -> None:
        """Take a chunk; raises ``InputError`` if the place cannot."""
        ...

    def finish(self, make: Callable[[Path, Path], None] | None = None) -> None:
        """Complete the output."""
        ...


class StdoutOutput:
    """Records on stdout, which nobody can make durable."""

    def __init__(self, header: bytes) -> None:
        """Write the header."""
        self.notes = self.words = self.entities = 0
        self.finished = False
        self.aside: list[tuple[str, str]] = []
        self._put(header)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: stdout is not ours to close."""

    def add(self, done: Done) -> None:
        """Write a chunk and flush it."""
        self.aside.extend(done.aside)
        self._put(done.lines)

    def finish(self, make: Callable[[Path, Path], None] | None = None) -> None:
        """Do nothing more: all is written."""

    def _put(self, lines: bytes) -> None:
        with cannot_write("stdout"):
            sys.stdout.write(lines.decode())
            sys.stdout.flush()
