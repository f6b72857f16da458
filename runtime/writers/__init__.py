"""The forms records are written in: what a record becomes, and what is made of all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.records import Record

FORMATS = ("jsonl", "csv", "parquet", "brat", "html", "omop")
_NEEDS_TEXT = {
    "brat": "a brat folder holds the notes' text",
    "html": "the page shows the notes' text",
    "omop": "NOTE_NLP requires lexical_variant, the words found",
}


@dataclass(frozen=True, slots=True)
class Format:
    """How records are written.

    Attributes:
        name: One of ``FORMATS``.
        line: Makes a record's lines, each with its line end.
        header: Stands before the first.
        make: Makes the output of a file of all lines, where the lines are not the output.
        check: Raises ``InputError`` for a note that this format cannot hold.
    """

    name: str
    line: Callable[[Record], str]
    header: str = ""
    make: Callable[[Path, Path], None] | None = None
    check: Callable[[Note], None] | None = None


def format_named(name: str, *, with_text: bool = True, day: str = "") -> Format:
    """Give a format by name. ``day`` (ISO) is when the notes are read, for formats that ask.

    Raises:
        InputError: If the format cannot do without the text it is to leave out.
        MissingInstallError: If it needs an optional install.
    """
    if not with_text and name in _NEEDS_TEXT:
        raise InputError(f"--format {name} cannot do without text: {_NEEDS_TEXT[name]}")
    if name in ("jsonl", "csv"):
        from clin_edge.runtime.writers.lines import csv_header, csv_lines, jsonl_line

        if name == "jsonl":
            return Format(name, functools.partial(jsonl_line, with_text=with_text))
        return Format(
            name, functools.partial(csv_lines, with_text=with_text), csv_header(with_text=with_text)
        )
    if name == "omop":
        from clin_edge.runtime.writers import omop

        line = functools.partial(omop.omop_rows, nlp_date=date.fromisoformat(day))
        return Format(name, line, omop.HEADER, check=omop.check_note)
    from clin_edge.runtime.writers.spool import spool_line, wordless_line

    if name == "parquet":
        from clin_edge.runtime.writers.parquet import check_install, write_parquet

        check_install()
        make = functools.partial(write_parquet, with_text=with_text)
        return Format(name, spool_line if with_text else wordless_line, make=make)
    if name == "html":
        from clin_edge.runtime.writers.html import write_html

        return Format(name, spool_line, make=write_html)
    if name == "brat":
        from clin_edge.runtime.writers.brat import check_note, write_brat

        return Format(name, spool_line, make=write_brat, check=check_note)
    raise InputError(f"{name}: not a format; expected {', '.join(FORMATS)}")
