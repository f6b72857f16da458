"""Records as lines of one file: JSONL, or CSV with a row an entity."""

from __future__ import annotations

import csv
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self, TextIO

from clin_edge.core.errors import InputError
from clin_edge.core.records import Record
from clin_edge.runtime.writers.partial import cannot_write, partial_name, settle


class JsonlWriter:
    """One JSON object a note, in order."""

    def __init__(self, out: Path | None, *, with_text: bool) -> None:
        """Write to ``out``, or to stdout if it is None."""
        self._out = out
        self._with_text = with_text
        self._count = 0
        self._stream: TextIO = sys.stdout

    def __enter__(self) -> Self:
        """Open ``OUT.partial``."""
        if self._out is not None:
            partial = partial_name(self._out)
            if self._out.is_dir():
                raise InputError(f"{self._out}: is a folder; name a file to make")
            with cannot_write(self._out):
                partial.parent.mkdir(parents=True, exist_ok=True)
                self._stream = partial.open("w", encoding="utf-8", newline="")
        self._put(self._header())
        return self

    def write(self, record: Record) -> None:
        """Write the record's line or rows."""
        self._put(self._lines(record))
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Make the file durable and give it its name, or leave it under ``OUT.partial``."""
        place = self._out or "stdout"
        whole = False
        try:
            if kind is None:
                with cannot_write(place):
                    self._stream.flush()
                    if self._out is not None:
                        os.fsync(self._stream.fileno())
                whole = True
        finally:
            if self._out is not None:
                with suppress(OSError):  # the first failure is the one to tell
                    self._stream.close()
                settle(self._out, whole=whole, count=self._count)

    def _header(self) -> str:
        return ""

    def _lines(self, record: Record) -> str:
        return record.to_json(with_text=self._with_text) + "\n"

    def _put(self, text: str) -> None:
        with cannot_write(self._out or "stdout"):
            self._stream.write(text)


class CsvWriter(JsonlWriter):
    """One row an entity: id, start, end, label, text, score. A note without any has no row."""

    def _header(self) -> str:
        return _row(["id", "start", "end", "label", *(["text"] * self._with_text), "score"])

    def _lines(self, record: Record) -> str:
        rows = []
        for entity in record.entities:
            span = entity.span
            quote = [record.quote(entity)] if self._with_text else []
            score = f"{entity.score:.4f}"
            rows.append(_row([record.note.id, span.start, span.end, entity.label, *quote, score]))
        return "".join(rows)


def _row(cells: list[object]) -> str:
    # The writer quotes a lone CR only if its own line end has one.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"
