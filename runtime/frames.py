"""What a supervisor and its workers say to each other over pipes: frames, and no pickle.

A frame is its kind (one byte), the length of its content (eight bytes, big-endian), the content.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO

from clin_edge.core.notes import Note

_HEAD = struct.Struct(">cQ")

Frame = tuple[bytes, bytes]
"""Kind and content."""

ORDER = b"O"  # to a worker: an Order
NOTES = b"N"  # to a worker: notes to read
READY = b"R"  # from a worker: what it loaded, as JSON
BEAT = b"B"  # from a worker: it lives; the note it begins to encode, see pack_place, or nothing
DONE = b"D"  # from a worker: a tally as JSON, a line end, then the lines themselves
FAILED = b"F"  # from a worker: an error's kind and message, as JSON


@dataclass(frozen=True, slots=True)
class Order:
    """What a reader of notes loads, and what it writes of them.

    Attributes:
        bundle: The bundle's folder.
        manifest_sha256: What its manifest must hash to: it is opened a second time.
        engine: One of the bundle's engines, or ``auto``.
        threads: How many threads the engine has.
        batch_tokens: Bounds a batch; None for what suits the model.
        fmt: One of ``writers.FORMATS``.
        with_text: Whether words of notes are written.
        day: When the notes are read (ISO), for formats that tell.
        min_score: Entities below are left out.
        context: Whether entities say if they are present, negated, ...
        reuse: Whether passages that were read before are remembered.
    """

    bundle: str
    manifest_sha256: str
    engine: str = "auto"
    threads: int = 1
    batch_tokens: int | None = None
    fmt: str = "jsonl"
    with_text: bool = True
    day: str = ""
    min_score: float = 0.0
    context: bool = True
    reuse: bool = True

    def to_json(self) -> bytes:
        """Write the order as bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Order:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(content))


def send(stream: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Write a frame and flush it."""
    stream.write(_HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Frame | None:
    """Read a frame: kind and content; None if the other side is gone."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, size = _HEAD.unpack(head)
    content = stream.read(size)
    return (kind, content) if len(content) == size else None


def pack_notes(notes: Sequence[Note]) -> bytes:
    """Write notes as bytes."""
    return json.dumps([[note.id, note.text] for note in notes]).encode()


def unpack_notes(content: bytes) -> list[Note]:
    """Read what ``pack_notes`` wrote."""
    return [Note(note_id, text) for note_id, text in json.loads(content)]


def pack_place(piece: int, place: int) -> bytes:
    """Write which of the pieces a worker was given, from 0, a note is in, and its place there."""
    return f"{piece} {place}".encode()


def unpack_place(content: bytes) -> tuple[int, int]:
    """Read what ``pack_place`` wrote."""
    piece, place = map(int, content.split())
    return piece, place


def pack_done(tally: Mapping[str, int], lines: bytes) -> bytes:
    """Write a tally and lines as bytes."""
    return json.dumps(dict(tally)).encode() + b"\n" + lines


def unpack_done(content: bytes) -> tuple[dict[str, int], bytes]:
    """Read what ``pack_done`` wrote."""
    tally, _, lines = content.partition(b"\n")
    read: dict[str, int] = json.loads(tally)
    return read, lines
