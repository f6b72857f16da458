"""Lines of UTF-8 text and of JSON, read one at a time; what is wrong with one is said by place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import IO

from clin_edge.core.errors import InputError
from clin_edge.core.logs import log

MAX_NOTE_CHARS = 10_000_000
BOM = b"\xef\xbb\xbf"


class NoteError(InputError):
    """One note cannot be read as promised; those after it can.

    Attributes:
        reason: Why, as a code: ``not-utf8``, ``not-json``, ``not-a-note``, ``too-long``,
            ``duplicate-id``, ``unreadable``.
        note_id: The note's id, where it could be read.
    """

    def __init__(self, where: str, what: str, *, reason: str, note_id: str = "") -> None:
        """Say where and what, in a line, and why, in a word."""
        super().__init__(f"{where}: {what}")
        self.where = where
        self.reason = reason
        self.note_id = note_id


def read_json_lines(
    name: str, stream: IO[bytes], *, max_chars: int = MAX_NOTE_CHARS
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield ``file:line`` and the JSON object of every line that is not blank.

    Raises:
        InputError: If a line is not UTF-8, not one JSON object, or far longer than any note may be.
    """
    for where, line, first in json_lines(name, stream, max_chars):
        record = json_object(where, line, first=first)
        if record is not None:
            yield where, record


def json_lines(
    name: str, stream: IO[bytes], max_chars: int
) -> Iterator[tuple[str, bytes | None, bool]]:
    """Yield where each line stands, the line (None if far too long), and whether it is the first.

    JSON writes a character in at most twelve bytes; the rest leaves room for other keys.
    """
    limit = 12 * max_chars + 16_000_000
    for number in range(1, sys.maxsize):
        line = stream.readline(limit)
        if not line:
            return
        yield f"{name}:{number}", line if len(line) < limit else None, number == 1
        while len(line) == limit and not line.endswith(b"\n"):  # for whom the rest is not enough
            line = stream.readline(limit)


def json_object(where: str, line: bytes | None, *, first: bool) -> dict[str, object] | None:
    """Read the JSON object of a line, None if it is blank; raises ``NoteError``."""
    if line is None:
        raise NoteError(where, "the line is far longer than any note may be", reason="too-long")
    text = decode(where, line, first=first)
    if not text.strip():
        return None
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        what = f"not JSON (column {error.colno}: {error.msg})"
        raise NoteError(where, what, reason="not-json") from None
    except (RecursionError, ValueError):
        what = "JSON nested too deep or a number too long"
        raise NoteError(where, what, reason="not-json") from None
    if not isinstance(record, dict):
        what = f"expected a JSON object, found a {type(record).__name__}"
        raise NoteError(where, what, reason="not-a-note")
    return record


def decode(where: str, raw: bytes, *, first: bool = True) -> str:
    """Decode strictly; at a file's start (``first``) drop a byte-order mark and say so."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = (
            f"not UTF-8 (byte 0x{raw[error.start]:02x} at offset {error.start}); "
            "convert the file to UTF-8"
        )
        raise NoteError(where, what, reason="not-utf8") from None
    if first and raw.startswith(BOM):
        log.warning("%s: dropped the byte-order mark at its start", where)
        return text[1:]
    return text
