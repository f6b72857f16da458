"""Records as a brat folder: the note's own text beside its ``.ann``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import brat_lines
from clin_edge.core.records import Record
from clin_edge.runtime.writers.partial import cannot_write, partial_name, settle

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ")


class BratWriter:
    """Makes a folder of ``ID.txt`` and ``ID.ann``; a ``/`` in an id makes a subfolder."""

    def __init__(self, out: Path) -> None:
        """Write to the folder ``out``, which must not exist yet, or be empty."""
        self._out = out
        self._count = 0

    def __enter__(self) -> Self:
        """Begin ``OUT.partial`` anew."""
        with cannot_write(self._out):
            if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
                raise InputError(f"{self._out}: exists and is not empty; choose another folder")
            if self._out.exists():
                self._out.rmdir()
            shutil.rmtree(partial_name(self._out), ignore_errors=True)
            partial_name(self._out).mkdir(parents=True)
        return self

    def write(self, record: Record) -> None:
        """Write the two files of one note; the text byte for byte, so that offsets hold."""
        folder = partial_name(self._out)
        name = "/".join(map(_file_name, record.note.id.split("/")))
        text, ann = folder / f"{name}.txt", folder / f"{name}.ann"
        if record.note.text.startswith("\ufeff"):
            raise InputError(
                f"note {record.note.id!r}: its text begins with a byte-order mark, which readers "
                "of brat folders drop; every offset would be off by one"
            )
        with cannot_write(text):
            text.parent.mkdir(parents=True, exist_ok=True)
            try:
                with text.open("xb") as stream:
                    stream.write(record.note.text.encode())
            except FileExistsError:
                raise InputError(
                    f"{text}: two ids give this name here (case does not count on some systems)"
                ) from None
            ann.write_bytes(brat_lines(record.entities, record.note.text).encode())
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Give the folder its name, or leave it under ``OUT.partial``."""
        settle(self._out, whole=kind is None, count=self._count)


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
