"""Notes, and every way they come in: folders, text files, JSONL, CSV, TSV, stdin.

Text is UTF-8 and is kept as it is: CRLF, combining marks and emoji keep their places. Only a
byte-order mark at a file's start is dropped, and that is said. Reading is lazy; what is kept of
all the notes seen is eight bytes each, to find an id that comes twice.
"""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

from clin_edge.core.errors import InputError
from clin_edge.core.lines import (
    BOM,
    MAX_NOTE_CHARS,
    NoteError,
    decode,
    json_lines,
    json_object,
)
from clin_edge.core.seen_ids import SeenIds

STDIN = "-"
_KINDS = (
    "a folder of .txt files, .txt, .jsonl, .jsonl.gz, .csv, .tsv, .parquet, or - for JSONL on stdin"
)


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


Reader = Callable[[Path, "NoteFormat"], Iterator[tuple[str, "Note | NoteError"]]]
"""Yields where each note of a file stands, and the note, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class NoteFormat:
    """Where id and text stand in a table or JSON object, and how long a note may be.

    ``readers`` read kinds of files that are not known here, by the end of their names.
    """

    id_column: str = "id"
    text_column: str = "text"
    max_chars: int = MAX_NOTE_CHARS
    readers: Mapping[str, Reader] = field(default_factory=dict)


def read_notes(
    places: Iterable[str],
    fmt: NoteFormat | None = None,
    *,
    refused: Callable[[NoteError], None] | None = None,
) -> Iterator[Note]:
    """Read every note of every place, in order, one at a time.

    Args:
        places: Folders (every ``*.txt`` below, sorted; id = relative path without suffix),
            ``.txt``, ``.jsonl``, ``.jsonl.gz``, ``.csv`` and ``.tsv`` files, or ``-`` for JSONL on
            stdin.
        fmt: Names of the id and text columns; the longest note allowed.
        refused: Is told of each note that cannot be read, and reading goes on; without it the
            first such note raises.

    Raises:
        InputError: With file and place, if a place is missing or of no known kind, or holds no
            note.
        NoteError: If bytes are not UTF-8, a record is malformed, a note is too long, or an id
            comes twice, and nobody is to be told.
    """
    fmt = fmt or NoteFormat()
    seen = SeenIds()
    places = list(places)
    for place in places:
        count = 0
        for where, note in _read_place(place, fmt):
            count += 1
            wrong = note if isinstance(note, NoteError) else _misfit(where, note, fmt, seen)
            if wrong is None:
                yield cast(Note, note)
            elif refused is None:
                raise wrong
            else:
                refused(wrong)
        if not count:
            raise InputError(f"{place}: holds no notes; expected {_KINDS}")


def _misfit(where: str, note: Note, fmt: NoteFormat, seen: SeenIds) -> NoteError | None:
    if len(note.text) > fmt.max_chars:
        what = (
            f"the note has {len(note.text):,} characters, more than the {fmt.max_chars:,} allowed; "
            "split it or raise --max-note-chars"
        )
        return NoteError(where, what, reason="too-long", note_id=note.id)
    if not seen.add(note.id):
        what = f"the id {note.id!r} came before; ids must be unique within a run"
        return NoteError(where, what, reason="duplicate-id", note_id=note.id)
    return None


class Fingerprint:
    """A hash of every id and text that went by, in order."""

    def __init__(self) -> None:
        """Begin with no note."""
        self._hashed = blake2b(digest_size=16)

    def of(self, notes: Iterable[Note]) -> Iterator[Note]:
        """Pass notes on, and remember them."""
        for note in notes:
            for part in (note.id.encode(), note.text.encode()):
                self._hashed.update(len(part).to_bytes(8, "little"))
                self._hashed.update(part)
            yield note

    def hexdigest(self) -> str:
        """Give the hash of the notes so far."""
        return self._hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class NotesSeen:
    """How many notes there are, and a fingerprint of every id and text in order."""

    count: int
    fingerprint: str


def check_notes(
    places: Iterable[str],
    fmt: NoteFormat | None = None,
    *,
    refused: Callable[[NoteError], None] | None = None,
    check: Callable[[Note], None] | None = None,
) -> NotesSeen:
    """Read all that can be read twice, so that a bad note is known before any work.

    Standard input is left alone: it can be read only once. ``check`` may refuse notes for reasons
    of its own.

    Raises:
        InputError: As ``read_notes`` does.
    """
    again = [place for place in places if place != STDIN]
    seen = Fingerprint()
    count = 0
    for note in seen.of(read_notes(again, fmt, refused=refused) if again else ()):
        count += 1
        if check is not None:
            check(note)
    return NotesSeen(count, seen.hexdigest())


def _read_place(place: str, fmt: NoteFormat) -> Iterator[tuple[str, Note | NoteError]]:
    """Yield where each note stands (for messages), and the note, or what is wrong with it."""
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
            reader = next((r for end, r in fmt.readers.items() if name.endswith(end)), None)
            if reader is None:
                raise InputError(f"{path}: not a kind of notes we read; expected {_KINDS}")
            yield from reader(path, fmt)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _folder_notes(folder: Path, fmt: NoteFormat) -> Iterator[tuple[str, Note | NoteError]]:
    files = sorted(
        (path.relative_to(folder).with_suffix("").as_posix(), path)
        for path in folder.rglob("*")
        if path.suffix.lower() == ".txt" and path.is_file()
    )
    for note_id, path in files:
        yield str(path), _text_note(path, note_id, fmt)


def _text_note(path: Path, note_id: str, fmt: NoteFormat) -> Note | NoteError:
    try:
        # No character takes more than four bytes: a longer file is too long whatever it says.
        size = path.stat().st_size
        if size > 4 * fmt.max_chars + len(BOM):
            what = (
                f"{size:,} bytes are more than the {fmt.max_chars:,} characters a note may have; "
                "split it or raise --max-note-chars"
            )
            return NoteError(str(path), what, reason="too-long", note_id=note_id)
        return _note(str(path), note_id, decode(str(path), path.read_bytes()))
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return NoteError(str(path), what, reason="unreadable", note_id=note_id)
    except NoteError as error:
        error.note_id = note_id
        return error


def _json_notes(
    name: str, stream: IO[bytes], fmt: NoteFormat
) -> Iterator[tuple[str, Note | NoteError]]:
    for where, line, first in json_lines(name, stream, fmt.max_chars):
        try:
            record = json_object(where, line, first=first)
            if record is not None:
                yield where, _json_note(where, record, fmt)
        except NoteError as error:
            yield where, error


def _json_note(where: str, record: dict[str, object], fmt: NoteFormat) -> Note:
    values: list[str] = []
    for column in (fmt.id_column, fmt.text_column):
        value = record.get(column)
        if not isinstance(value, str):
            found = "a " + type(value).__name__ if column in record else "nothing"
            what = f"{column!r} must be a string, found {found}"
            raise NoteError(where, what, reason="not-a-note", note_id=values[0] if values else "")
        values.append(value)
    return _note(where, *values)


def _table_notes(
    path: Path, stream: IO[bytes], fmt: NoteFormat
) -> Iterator[tuple[str, Note | NoteError]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    csv.field_size_limit(max(csv.field_size_limit(), 2 * fmt.max_chars))
    not_utf8: list[NoteError] = []
    rows = csv.reader(_lines(str(path), stream, not_utf8), delimiter=delimiter, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        if not_utf8:
            raise not_utf8[0]
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
            if not_utf8:
                yield where, not_utf8[0]
                not_utf8.clear()
            elif row and len(row) != len(header):
                what = f"{len(row)} fields under a header of {len(header)}"
                yield where, NoteError(where, what, reason="not-a-note")
            elif row:
                try:
                    note: Note | NoteError = _note(where, row[id_at], row[text_at])
                except NoteError as error:
                    note = error
                yield where, note
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not a well-formed table ({error})") from None


def _lines(name: str, stream: IO[bytes], not_utf8: list[NoteError]) -> Iterator[str]:
    """Decode line by line without touching line ends, so that a quoted CRLF stays one.

    A line that is not UTF-8 is told to ``not_utf8``; the table's rows go on after it.
    """
    for number, line in enumerate(stream, start=1):
        try:
            text = decode(f"{name}:{number}", line, first=number == 1)
        except NoteError as error:
            not_utf8.append(error)
            text = line.decode("utf-8", errors="replace")
        yield text


def _note(where: str, note_id: str, text: str) -> Note:
    try:
        return Note(note_id, text)
    except ValueError as error:
        raise NoteError(where, str(error), reason="not-a-note") from None
