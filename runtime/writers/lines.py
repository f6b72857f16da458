"""Records as lines: JSONL, or CSV with a row an entity."""

from __future__ import annotations

import csv
import io

from clin_edge.core.records import Record


def jsonl_line(record: Record, *, with_text: bool) -> str:
    """Write a record as one JSON object and a line end."""
    return record.to_json(with_text=with_text) + "\n"


def csv_header(*, with_text: bool) -> str:
    """Give the first line of a CSV file of entities."""
    return csv_row(["id", "start", "end", "label", *(["text"] * with_text), "score", "assertion"])


def csv_lines(record: Record, *, with_text: bool) -> str:
    """Write a record as one row an entity; a note without any has no row."""
    rows = []
    for entity in record.entities:
        span = entity.span
        quote = [record.quote(entity)] if with_text else []
        score = f"{entity.score:.4f}"
        cells = [record.note.id, span.start, span.end, entity.label, *quote, score]
        rows.append(csv_row([*cells, entity.assertion]))
    return "".join(rows)


def csv_row(cells: list[object]) -> str:
    """Write cells as one row of CSV, ended by LF."""
    # The writer quotes a lone CR only if its own line end has one.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"
