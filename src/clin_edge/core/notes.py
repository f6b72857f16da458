"""Notes, and every way they come in: folders, text files, JSONL, CSV, TSV, stdin.

Text is UTF-8 and is kept as it is: CRLF, combining marks and emoji keep their places. Only a
byte-order mark at a file's start is dropped, and that is said. Reading is lazy; what is kept of
all the notes seen is eight bytes each, to find an id that comes twice.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

import numpy as np

from clin_edge.core.errors import InputError
from clin_edge.core.logs import log

MAX_NOTE_CHARS = 10_000_000
STDIN = "-"
_BOM = b"\xef\xbb\xbf"
_KINDS = "a folder of .txt files, .txt, .jsonl, .jsonl.gz, .csv, .tsv, or - for JSONL on stdin"


@dataclass(frozen=True, slots=True)
class Note:
    """One clinical note. ``text`` never shows in a ``repr``, so it cannot slip into a log.

    Raises:
        ValueError: If the id is empty, or the text holds a lone surrogate (no UTF-8 for it).
    """

    id: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a note that could not be written out again."""
        if not self.id:
            raise ValueError("the id is empty")
        for name, value in (("id", self.id), ("text", self.text)):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                place = f"the {name} has a lone surrogate at character {error.start}"
                raise ValueError(f"{place}, which is not Unicode text") from None


@dataclass(frozen=True, slots=True)
class NoteFormat:
    """Where id and text stand in a table or JSON object, and how long a note may be."""

    id_column: str = "id"
    text_column: str = "text"
    max_chars: int = MAX_NOTE_CHARS


class SeenIds:
    """The ids met so far, at eight bytes each, to find one that comes twice.

    It keeps 64-bit BLAKE2b digests: among three million different ids the chance of a false
    alarm is below one in four million.
    """

    _RECENT = 65_536

    def __init__(self) -> None:
        """Start with none."""
        self._recent: set[int] = set()
        self._sorted = np.empty(0, dtype=np.uint64)

    def add(self, note_id: str) -> bool:
        """Remember ``note_id``; tell whether it is new."""
        key = int.from_bytes(blake2b(note_id.encode(), digest_size=8).digest(), "little")
        if key in self._recent:
            return False
        at = int(np.searchsorted(self._sorted, np.uint64(key)))
        if at < len(self._sorted) and int(self._sorted[at]) == key:
            return False
        self._recent.add(key)
        if len(self._recent) >= self._RECENT:
            fresh = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, fresh]))
            self._recent.clear()
        return True


def read_notes(places: Iterable[str], fmt: NoteFormat | None = None) -> Iterator[Note]:
    """Read every note of every place, in order, one at a time.

    Args:
        places: Folders (every ``*.txt`` below, sorted; id = relative path without suffix),
            ``.txt``, ``.jsonl``, ``.jsonl.gz``, ``.csv`` and ``.tsv`` files, or ``-`` for JSONL on
            stdin.
        fmt: Names of the id and text columns; the longest note allowed.

    Raises:
        InputError: With file and place, if a place is missing or of no known kind, bytes are not
            UTF-8, a record is malformed, a note is too long, an id comes twice, or
            there is no note.
    """
    fmt = fmt or NoteFormat()
    seen = SeenIds()
    places = list(places)
    for place in places:
        count = 0
        for where, note in _read_place(place, fmt):
            if len(note.text) > fmt.max_chars:
                raise InputError(
                    f"{where}: the note has {len(note.text):,} characters, more than the "
                    f"{fmt.max_chars:,} allowed; split it or raise --max-note-chars"
                )
            if not seen.add(note.id):
                raise InputError(
                    f"{where}: the id {note.id!r} came before; ids must be unique within a run"
                )
            count += 1
            yield note
        if not count:
            raise InputError(f"{place}: holds no notes; expected {_KINDS}")


def check_notes(places: Iterable[str], fmt: NoteFormat | None = None) -> int:
    """Read all that can be read twice, so that a bad note is known before any work; count notes.

    Standard input is left alone: it can be read only once.

    Raises:
        InputError: As ``read_notes`` does.
    """
    again = [place for place in places if place != STDIN]
    return sum(1 for _ in read_notes(again, fmt)) if again else 0


def _read_place(place: str, fmt: NoteFormat) -> Iterator[tuple[str, Note]]:
    """Yield where each note stands (for messages), and the note."""
    if place == STDIN:
        yield from _json_notes("stdin", sys.stdin.buffer, fmt)
        return
    path = Path(place)
    name = path.name.lower()
    try:
        if path.is_dir():
            yield from _folder_notes(path, fmt)
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder")
        elif name.endswith(".txt"):
            yield str(path), _text_note(path, path.stem, fmt)
        elif name.endswith(".jsonl"):
            with path.open("rb") as stream:
                yield from _json_notes(str(path), stream, fmt)
        elif name.endswith(".jsonl.gz"):
            with gzip.open(path, "rb") as stream:
                yield from _json_notes(str(path), cast(IO[bytes], stream), fmt)
        elif name.endswith((".csv", ".tsv")):
            with path.open("rb") as stream:
                yield from _table_notes(path, stream, fmt)
        else:
            raise InputError(f"{path}: not a kind of notes we read; expected {_KINDS}")
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _folder_notes(folder: Path, fmt: NoteFormat) -> Iterator[tuple[str, Note]]:
    files = sorted(
        (path.relative_to(folder).with_suffix("").as_posix(), path)
        for path in folder.rglob("*")
        if path.suffix.lower() == ".txt" and path.is_file()
    )
    for note_id, path in files:
        yield str(path), _text_note(path, note_id, fmt)


def _text_note(path: Path, note_id: str, fmt: NoteFormat) -> Note:
    # No character takes more than four bytes: a longer file is too long a note whatever it says.
    size = path.stat().st_size
    if size > 4 * fmt.max_chars + len(_BOM):
        raise InputError(
            f"{path}: {size:,} bytes are more than the {fmt.max_chars:,} characters a note may "
            "have; split it or raise --max-note-chars"
        )
    return _note(str(path), note_id, _decode(str(path), path.read_bytes()))


def _json_notes(name: str, stream: IO[bytes], fmt: NoteFormat) -> Iterator[tuple[str, Note]]:
    for where, record in read_json_lines(name, stream, max_chars=fmt.max_chars):
        values: list[str] = []
        for column in (fmt.id_column, fmt.text_column):
            value = record.get(column)
            if not isinstance(value, str):
                found = "a " + type(value).__name__ if column in record else "nothing"
                raise InputError(f"{where}: {column!r} must be a string, found {found}")
            values.append(value)
        yield where, _note(where, *values)


def read_json_lines(
    name: str, stream: IO[bytes], *, max_chars: int = MAX_NOTE_CHARS
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield ``file:line`` and the JSON object of every line that is not blank.

    Raises:
        InputError: If a line is not UTF-8, not one JSON object, or far longer than any note may be.
    """
    # JSON writes a character in at most twelve bytes; the rest leaves room for other keys.
    limit = 12 * max_chars + 16_000_000
    for number in range(1, sys.maxsize):
        line = stream.readline(limit)
        where = f"{name}:{number}"
        if not line:
            return
        if len(line) == limit:
            raise InputError(f"{where}: the line is longer than {limit:,} bytes")
        text = _decode(where, line, first=number == 1)
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON (column {error.colno}: {error.msg})") from None
        except (RecursionError, ValueError):
            raise InputError(f"{where}: JSON nested too deep or a number too long") from None
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found a {type(record).__name__}")
        yield where, record


def _table_notes(path: Path, stream: IO[bytes], fmt: NoteFormat) -> Iterator[tuple[str, Note]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    csv.field_size_limit(max(csv.field_size_limit(), 2 * fmt.max_chars))
    rows = csv.reader(_lines(str(path), stream), delimiter=delimiter, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        for column in (fmt.id_column, fmt.text_column):
            if header.count(column) != 1:
                # The first line may be no header but a note: its words are not shown.
                raise InputError(
                    f"{path}:1: needs one column {column!r}, found {header.count(column)} among "
                    f"{len(header)} in the header; name yours with --id-column and --text-column"
                )
        id_at, text_at = header.index(fmt.id_column), header.index(fmt.text_column)
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} fields under a header of {len(header)}")
            yield where, _note(where, row[id_at], row[text_at])
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not a well-formed table ({error})") from None


def _lines(name: str, stream: IO[bytes]) -> Iterator[str]:
    """Decode line by line without touching line ends, so that a quoted CRLF stays one."""
    for number, line in enumerate(stream, start=1):
        yield _decode(f"{name}:{number}", line, first=number == 1)


def _decode(where: str, raw: bytes, *, first: bool = True) -> str:
    """Decode strictly; at a file's start (``first``) drop a byte-order mark and say so."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 (byte 0x{raw[error.start]:02x} at offset {error.start}); "
            "convert the file to UTF-8"
        ) from None
    if first and raw.startswith(_BOM):
        log.warning("%s: dropped the byte-order mark at its start", where)
        return text[1:]
    return text


def _note(where: str, note_id: str, text: str) -> Note:
    try:
        return Note(note_id, text)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
