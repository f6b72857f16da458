"""Records on their way into a format that cannot grow line by line (brat, HTML, Parquet).

They wait in a file of one JSON record a line, which can be continued after a power cut; once all
are there the format is made of it in one go, and can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span


def spool_line(record: Record) -> str:
    """Write all of a record, its note's text too, as one line."""
    note, coverage = record.note, record.coverage
    found = [[e.span.start, e.span.end, e.label, e.score, e.assertion] for e in record.entities]
    covered = [coverage.chars, coverage.read, coverage.windows]
    whole = [note.id, note.text, found, covered, record.bundle]
    return json.dumps(whole, ensure_ascii=False) + "\n"


def wordless_line(record: Record) -> str:
    """Write a record as one line without its note's text, for outputs that hold none."""
    return spool_line(replace(record, note=Note(record.note.id, "")))


def spooled(spool: Path) -> Iterator[Record]:
    """Read the records of a spool, one at a time, in order."""
    with spool.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            note_id, text, found, covered, bundle = json.loads(line)
            entities = tuple(
                Entity(Span(start, end), label, score, assertion=assertion)
                for start, end, label, score, assertion in found
            )
            yield Record(Note(note_id, text), entities, Coverage(*covered), bundle)
