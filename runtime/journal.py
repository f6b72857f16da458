"""What was made durable, line by line; a line that was cut or spoilt ends the journal.

The first line holds the run's terms, each later one a chunk; none holds a note's text. A line
is the CRC-32 of its JSON in eight hex digits, a blank, the JSON.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

VERSION = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Notes that were made durable together.

    Attributes:
        notes: How many notes these are, those set aside included.
        words: How many words those have that were read.
        entities: How many entities were written.
        size_bytes: How many bytes of the output they are.
        digest: A hash of these bytes.
        aside: Id and reason code of each note that was set aside.
    """

    notes: int
    words: int
    entities: int
    size_bytes: int
    digest: str
    aside: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as found: the run's terms and chunks, if all were in, if the output is placed."""

    terms: Mapping[str, Any]
    chunks: tuple[Chunk, ...]
    ended: bool
    placed: bool


def digest_of(data: bytes) -> str:
    """Give the hash of a chunk's bytes."""
    return blake2b(data, digest_size=16).hexdigest()


def terms_line(terms: Mapping[str, Any]) -> bytes:
    """Give a journal's first line."""
    return _line({"journal": VERSION, "terms": dict(terms)})


def chunk_line(chunk: Chunk) -> bytes:
    """Give the line of a chunk."""
    return _line({"chunk": asdict(chunk)})


def end_line() -> bytes:
    """Give the line that says that all notes are in."""
    return _line({"ended": True})


def placed_line() -> bytes:
    """Give the line that says that the output has its name."""
    return _line({"placed": True})


def read_journal(raw: bytes) -> Journal | None:
    """Read a journal up to its first line that is not whole; None if not even its terms are."""
    terms: Mapping[str, Any] | None = None
    chunks: list[Chunk] = []
    ended = placed = False
    for line in raw.splitlines(keepends=True):
        said = _checked(line)
        if said is None:
            break
        if terms is None:
            if said.get("journal") != VERSION:
                return None
            terms = said["terms"]
        elif "chunk" in said:
            aside = tuple((i, reason) for i, reason in said["chunk"].pop("aside"))
            chunks.append(Chunk(**said["chunk"], aside=aside))
        else:
            ended, placed = ended or "ended" in said, placed or "placed" in said
    return None if terms is None else Journal(terms, tuple(chunks), ended, placed)


def _line(said: Mapping[str, Any]) -> bytes:
    content = json.dumps(said, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _checked(line: bytes) -> dict[str, Any] | None:
    check, _, content = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(content):
        return None
    said: dict[str, Any] = json.loads(content)
    return said
