"""Records as rows of OMOP's NOTE_NLP table (CDM v5.4), in CSV: one row an entity, one line a row.

Source of the columns and of the rule for ``term_exists``: OHDSI/CommonDataModel v5.4. The table
has no place for label, score and end offset; they go into ``term_modifiers``. See docs/formats.md.
"""

from __future__ import annotations

import re
from datetime import date
from hashlib import blake2b

from clin_edge import __version__
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.writers.lines import csv_row

HEADER = (
    "note_nlp_id,note_id,section_concept_id,snippet,"
    '"offset",'  # a reserved word of SQL
    "lexical_variant,note_nlp_concept_id,note_nlp_source_concept_id,nlp_system,nlp_date,"
    "nlp_datetime,term_exists,term_temporal,term_modifiers\n"
)
_WIDTH = 250  # bytes: some databases count these where the standard says characters
_MODIFIERS_WIDTH = 2000
_MAX_ID = 2**63 - 1
_WHOLE = re.compile("0|[1-9][0-9]{0,18}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
# Where nobody looked, nothing is said. "Possible" includes what is to be ruled out: no term that
# exists. One word cannot tell whether what is denied or another's was present or past.
_EXISTS = {
    "present": "Y",
    "historical": "Y",
    **dict.fromkeys(("negated", "possible", "hypothetical", "family"), "N"),
}
_TEMPORAL = {"present": "present", "historical": "past"}


def check_note(note: Note) -> None:
    """Refuse a note whose id cannot be a ``note_id``; raises ``InputError``."""
    if not _WHOLE.fullmatch(note.id) or int(note.id) > _MAX_ID:
        raise InputError(
            f"note {note.id!r}: OMOP's note_id is a whole number without leading zeros; take ids "
            "from the NOTE table (--id-column note_id), or another --format"
        )


def omop_rows(record: Record, *, nlp_date: date) -> str:
    """Write a record as rows below ``HEADER``, one an entity.

    ``note_nlp_id`` is a hash (see ``note_nlp_id``), so it depends on no other row. Words are cut
    at 250 bytes of UTF-8 and their blanks and control characters become spaces, one each.

    Args:
        record: Of a note that ``check_note`` lets pass.
        nlp_date: The day of processing; to be the same whenever a broken run is continued.

    Raises:
        InputError: As ``check_note`` does.
    """
    check_note(record.note)
    system = _cut(f"clin-edge {__version__} {record.bundle}")
    text = _BLANK.sub(" ", record.note.text)  # sign for sign: offsets hold
    rows = []
    for entity in record.entities:
        span = entity.span
        term = text[span.start : span.end]
        shown = _cut(term)
        cells = [
            *(note_nlp_id(record, entity), record.note.id, ""),
            *(_snippet(text, entity.span, shown), span.start, shown),
            *(0, 0, system, nlp_date.isoformat(), ""),
            *(_EXISTS.get(entity.assertion, ""), _TEMPORAL.get(entity.assertion, "")),
            _modifiers(entity, truncated=shown != term),
        ]
        rows.append(csv_row(cells))
    return "".join(rows)


def note_nlp_id(record: Record, entity: Entity) -> int:
    """Give a number from 0 to 2^63 - 1: BLAKE2b of the bundle's and note's ids, span and label.

    Among 60 million rows the chance that any two are equal is about 1 in 5,000; a primary key
    would refuse the second.
    """
    span = entity.span
    named = f"{record.bundle}\0{record.note.id}\0{span.start}\0{span.end}\0{entity.label}"
    return int.from_bytes(blake2b(named.encode(), digest_size=8).digest(), "big") >> 1


def _snippet(text: str, span: Span, shown: str) -> str:
    """Give the term within as much text on both sides as fits; what one side lacks the other has.

    A term that was cut stands alone.
    """
    term = shown.encode()
    room = _WIDTH - len(term) if len(shown) == span.end - span.start else 0
    before = text[max(0, span.start - room) : span.start].encode()
    after = text[span.end : span.end + room].encode()
    n_after = min(len(after), max(room - room // 2, room - len(before)))
    n_before = min(len(before), room - n_after)
    whole = before[len(before) - n_before :] + term + after[:n_after]
    return whole.decode(errors="ignore")  # half a character at an end goes


def _modifiers(entity: Entity, *, truncated: bool) -> str:
    """Join what has no column of its own; the label comes last, so it may hold any sign."""
    parts = [f"end={entity.span.end}", f"score={entity.score:.4f}"]
    if entity.assertion:
        parts.append(f"assertion={entity.assertion}")
    if truncated:
        parts.append("truncated=true")
    parts.append(f"label={entity.label}")
    return _cut(_BLANK.sub(" ", ";".join(parts)), _MODIFIERS_WIDTH)


def _cut(text: str, n_bytes: int = _WIDTH) -> str:
    return text.encode()[:n_bytes].decode(errors="ignore")
