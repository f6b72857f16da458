"""Notes with labels: from a corpus, a teacher or a person; JSONL and brat folders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from clin_edge.core.errors import InputError
from clin_edge.core.lines import read_json_lines
from clin_edge.core.notes import Note, read_notes
from clin_edge.core.spans import Entity, Span, alternatives

N2C2 = {
    "Drug": "MEDICATION",
    "Strength": "STRENGTH",
    "Form": "FORM",
    "Dosage": "DOSAGE",
    "Route": "ROUTE",
    "Frequency": "FREQUENCY",
    "Duration": "DURATION",
    "Reason": "REASON",
    "ADE": "ADE",
}
_BRAT_ENTITY = re.compile(r"T\d+\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t.*)?")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A note and the entities one source marked in it.

    ``marked`` names the labels this source marks at all: of any other, its silence says nothing.
    ``dropped`` counts, by reason, what could not be kept.
    """

    note: Note
    entities: tuple[Entity, ...]
    marked: frozenset[str]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def covered(self) -> frozenset[str]:
        """Every single label whose absence here means something."""
        return frozenset(one for label in self.marked for one in alternatives(label))


def keep_labels(items: Iterable[Labelled], types: Iterable[str]) -> list[Labelled]:
    """Leave out the labels that stand for none of ``types``, as if no one had marked them."""
    wanted = frozenset(types)

    def meant(label: str) -> bool:
        return not wanted.isdisjoint(alternatives(label))

    return [
        replace(
            item,
            entities=tuple(e for e in item.entities if meant(e.label)),
            marked=frozenset(filter(meant, item.marked)),
        )
        for item in items
    ]


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """Read ``FROM=TO`` pairs; the word ``n2c2`` stands for the nine types of that corpus.

    >>> parse_map(["Drug=MEDICATION", "Problem=DISEASE|SYMPTOM"])
    {'Drug': 'MEDICATION', 'Problem': 'DISEASE|SYMPTOM'}

    Raises:
        InputError: If a pair is not of that form.
    """
    renames: dict[str, str] = {}
    for pair in pairs:
        if pair == "n2c2":
            renames |= N2C2
            continue
        old, equals, new = pair.partition("=")
        if not (old and equals and all(alternatives(new))):
            raise InputError(f"--map {pair}: expected FROM=TO, such as Drug=MEDICATION, or n2c2")
        renames[old] = new
    return renames


def read_labelled(place: str | Path, renames: Mapping[str, str] | None = None) -> list[Labelled]:
    """Read labelled notes from a JSONL file or a brat folder (``.txt`` beside ``.ann``).

    Args:
        place: The file or folder.
        renames: Label names to replace on reading, both in entities and in ``marked``.

    Raises:
        InputError: With file, line and id, if an entity leaves its text, is empty or covers blanks
            only, or the file is not what it should be.
    """
    path = Path(place)
    renames = renames or {}
    if path.is_dir():
        rows = _brat_rows(path)
    elif path.name.lower().endswith(".jsonl"):
        rows = _json_rows(path)
    else:
        raise InputError(f"{path}: labelled notes are a .jsonl file or a folder of .txt and .ann")
    kept = []
    for note, entities, marked in rows:
        renamed = tuple(
            Entity(e.span, renames.get(e.label, e.label), e.score, e.source) for e in entities
        )
        said = None if marked is None else frozenset(renames.get(m, m) for m in marked)
        kept.append((note, renamed, said))
    seen = frozenset(e.label for _, entities, _ in kept for e in entities)
    return [Labelled(note, ents, seen if said is None else said) for note, ents, said in kept]


def labelled_json(item: Labelled, **more: object) -> str:
    """Write a labelled note as one line of JSON, without line end; ``more`` fields come last.

    A score of 1 goes unsaid.
    """
    fields: dict[str, object] = {
        "id": item.note.id,
        "text": item.note.text,
        "entities": [_entity_fields(entity) for entity in item.entities],
        "marked": sorted(item.marked),
    }
    if item.dropped:
        fields["dropped"] = dict(item.dropped)
    return json.dumps(fields | more, ensure_ascii=False)


def read_predictions(path: Path) -> dict[str, list[Entity]]:
    """Read the entities of records, or of labelled notes, by note id.

    Raises:
        InputError: With file and line, if one is malformed or an id comes twice.
    """
    found: dict[str, list[Entity]] = {}
    with _open(path) as stream:
        for where, row in read_json_lines(str(path), stream):
            note_id = row.get("id")
            if not isinstance(note_id, str) or note_id in found:
                raise InputError(f"{where}: 'id' must be a string that did not come before")
            found[note_id] = _entities(f"{where} (id {note_id!r})", row, text=None)
    return found


_Row = tuple[Note, list[Entity], frozenset[str] | None]


def _json_rows(path: Path) -> list[_Row]:
    rows: list[_Row] = []
    seen: set[str] = set()
    with _open(path) as stream:
        for where, row in read_json_lines(str(path), stream):
            note_id, text, marked = row.get("id"), row.get("text"), row.get("marked")
            if not isinstance(note_id, str) or not isinstance(text, str):
                raise InputError(f"{where}: a labelled note needs strings 'id' and 'text'")
            where = f"{where} (id {note_id!r})"
            if note_id in seen:
                raise InputError(f"{where}: the id came before")
            seen.add(note_id)
            said = None
            if marked is not None:
                if not isinstance(marked, list) or not all(isinstance(m, str) for m in marked):
                    raise InputError(f"{where}: 'marked' must be a list of labels")
                said = frozenset(marked)
            try:
                note = Note(note_id, text)
            except ValueError as error:
                raise InputError(f"{where}: {error}") from None
            rows.append((note, _entities(where, row, text=text), said))
    if not rows:
        raise InputError(f"{path}: holds no labelled notes")
    return rows


def _entities(where: str, row: Mapping[str, object], text: str | None) -> list[Entity]:
    listed = row.get("entities", [])
    if not isinstance(listed, list):
        raise InputError(f"{where}: 'entities' must be a list")
    found = []
    for number, fields in enumerate(listed, start=1):
        place = f"{where}: entity {number}"
        if not isinstance(fields, dict) or not isinstance(fields.get("label"), str):
            raise InputError(f"{place}: expected an object with start, end and label")
        start, end, score = fields.get("start"), fields.get("end"), fields.get("score", 1.0)
        if type(start) is not int or type(end) is not int:
            raise InputError(f"{place}: 'start' and 'end' must be whole numbers")
        if type(score) not in (int, float):
            raise InputError(f"{place}: 'score' must be a number")
        try:
            entity = Entity(
                Span(start, end), fields["label"], float(score), str(fields.get("source", ""))
            )
        except (ValueError, OverflowError) as error:
            raise InputError(f"{place}: {error}") from None
        if text is not None:
            _check_place(place, entity.span, text)
        found.append(entity)
    return found


def _check_place(place: str, span: Span, text: str) -> None:
    if span.end > len(text):
        raise InputError(
            f"{place}: ends at {span.end}, after the text's {len(text)} characters; "
            "offsets are Unicode code points, end exclusive"
        )
    if not text[span.start : span.end].strip():
        raise InputError(f"{place}: [{span.start}, {span.end}) covers blanks only")


def _entity_fields(entity: Entity) -> dict[str, object]:
    fields: dict[str, object] = {
        "start": entity.span.start,
        "end": entity.span.end,
        "label": entity.label,
    }
    if entity.score != 1.0:
        fields["score"] = round(entity.score, 4)
    if entity.source:
        fields["source"] = entity.source
    return fields


def _brat_rows(folder: Path) -> list[_Row]:
    """Read ``.ann`` beside each ``.txt``; a discontinuous entity runs from first to last fragment.

    Source: that reduction is the rule of the n2c2 2018 track 2 scorer.
    """
    rows: list[_Row] = []
    for note in read_notes([str(folder)]):
        path = folder / f"{note.id}.ann"
        if not path.exists():
            raise InputError(f"{path}: missing; every .txt of a brat folder needs its .ann")
        with _open(path) as stream:
            raw = stream.read()
        try:
            lines = raw.decode("utf-8").removeprefix("\ufeff").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
        entities = []
        for number, line in enumerate(lines, start=1):
            if not line.startswith("T"):
                continue
            place = f"{path}:{number} (id {note.id!r})"
            match = _BRAT_ENTITY.fullmatch(line.rstrip("\r"))
            if not match:
                raise InputError(f"{place}: not a brat entity line")
            fragments = [int(n) for pair in match[2].split(";") for n in pair.split()]
            try:
                entity = Entity(Span(min(fragments), max(fragments)), match[1])
            except ValueError as error:
                raise InputError(f"{place}: {error}") from None
            _check_place(place, entity.span, note.text)
            entities.append(entity)
        rows.append((note, entities, None))
    return rows


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


# All that some reader of lines takes for a line's end.
_WITHOUT_BREAK = re.compile(r"[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def brat_lines(entities: Sequence[Entity], text: str) -> str:
    """Write entities as the lines of a ``.ann`` file, what is asserted of one as its attribute.

    A span that holds a line break is written as fragments around it, as the format demands
    (nlplab/brat#786); fragments are joined by one space in the text field. A span of line breaks
    alone has no place in the format and is left out.
    """
    lines: list[str] = []
    number = 0
    for entity in entities:
        span = entity.span
        pieces = [
            (span.start + match.start(), span.start + match.end())
            for match in _WITHOUT_BREAK.finditer(text[span.start : span.end])
        ]
        if not pieces:
            continue
        places = ";".join(f"{start} {end}" for start, end in pieces)
        quote = " ".join(text[start:end] for start, end in pieces)
        number += 1
        label = re.sub(r"\s+", "_", entity.label)
        lines.append(f"T{number}\t{label} {places}\t{quote}\n")
        if entity.assertion:
            lines.append(f"A{number}\tAssertion T{number} {entity.assertion}\n")
    return "".join(lines)
