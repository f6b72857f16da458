"""Where records go: JSONL or CSV in a file or on stdout, or a brat folder.

Whatever is unfinished stands under ``OUT.partial``; only a whole output takes the final name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

from clin_edge.core.errors import InputError
from clin_edge.core.records import Record

FORMATS = ("jsonl", "csv", "brat")


class Writer(Protocol):
    """Takes records one by one; a context manager that finishes, or keeps what is there aside."""

    def write(self, record: Record) -> None:
        """Write one record; raises ``InputError`` if the place cannot take it."""
        ...

    def __enter__(self) -> Self:
        """Open the place."""
        ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Give the output its final name, or on an error leave it under ``OUT.partial``."""
        ...


def open_writer(fmt: str, out: Path | None, *, with_text: bool) -> Writer:
    """Make the writer for a format and a place; None stands for stdout.

    Raises:
        InputError: If the format cannot go there.
    """
    if fmt == "brat":
        from clin_edge.runtime.writers.brat import BratWriter

        if out is None or not with_text:
            raise InputError("--format brat holds the notes' text: it needs -o FOLDER, and text")
        return BratWriter(out)
    from clin_edge.runtime.writers.lines import CsvWriter, JsonlWriter

    return (CsvWriter if fmt == "csv" else JsonlWriter)(out, with_text=with_text)
