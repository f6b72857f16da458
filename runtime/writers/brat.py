"""Records as a brat folder: the note's own text beside its ``.ann``."""

from __future__ import annotations

from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import brat_lines
from clin_edge.core.notes import Note
from clin_edge.runtime.writers.partial import cannot_write
from clin_edge.runtime.writers.spool import spooled

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ")


def check_note(note: Note) -> None:
    """Refuse a text that readers of brat folders would change; raises ``InputError``."""
    if note.text.startswith("\ufeff"):
        raise InputError(
            f"note {note.id!r}: its text begins with a byte-order mark, which readers of brat "
            "folders drop; every offset would be off by one"
        )


def write_brat(spool: Path, out: Path) -> None:
    """Make a folder of ``ID.txt`` and ``ID.ann`` of a spool; ``/`` in an id makes a subfolder.

    The text is written byte for byte, so that offsets hold.

    Raises:
        InputError: If two ids give the same name, or a file cannot be written.
    """
    out.mkdir(mode=0o700)
    for record in spooled(spool):
        check_note(record.note)
        name = "/".join(map(_file_name, record.note.id.split("/")))
        text, ann = out / f"{name}.txt", out / f"{name}.ann"
        with cannot_write(text):
            text.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_new(text, record.note.text)
                _write_new(ann, brat_lines(record.entities, record.note.text))
            except FileExistsError:
                raise InputError(
                    f"{text}: two ids give this name here (case does not count on some systems)"
                ) from None


def _write_new(path: Path, text: str) -> None:
    with path.open("xb") as stream:
        stream.write(text.encode())


def _file_name(part: str) -> str:
    """Write one part of an id as a file name any system takes; no two parts give the same.

    Unusual characters become ``%XX``, as do dots that lead or end a name and names Windows keeps.

    >>> _file_name("a:b"), _file_name(".."), _file_name("")
    ('a%3Ab', '%2E%2E', '%')
    """
    if not part:
        return "%"
    plain = "".join(c if c in _PLAIN else "".join(f"%{b:02X}" for b in c.encode()) for c in part)
    stripped = plain.strip(". ")
    if stripped == plain and plain.split(".")[0].upper() not in _RESERVED:
        return plain
    return "".join(f"%{b:02X}" for b in part.encode())


_RESERVED = {
    *("CON", "PRN", "AUX", "NUL"),
    *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)),
}
