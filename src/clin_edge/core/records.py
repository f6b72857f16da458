"""What is written about a note. The one place where text leaves it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.spans import Entity


@dataclass(frozen=True, slots=True)
class Record:
    """A note, the entities found in it, what was read of it, and the bundle that read it."""

    note: Note
    entities: tuple[Entity, ...]
    coverage: Coverage
    bundle: str

    def quote(self, entity: Entity) -> str:
        """Give the characters of the note that ``entity`` covers."""
        return self.note.text[entity.span.start : entity.span.end]

    def to_json(self, *, with_text: bool = True) -> str:
        """Write the record as one line of JSON, without line end; scores have four decimals."""
        entities = []
        for entity in self.entities:
            written: dict[str, object] = {
                "start": entity.span.start,
                "end": entity.span.end,
                "label": entity.label,
            }
            if with_text:
                written["text"] = self.quote(entity)
            written["score"] = round(entity.score, 4)
            if entity.assertion:
                written["assertion"] = entity.assertion
            entities.append(written)
        coverage = self.coverage
        return json.dumps(
            {
                "id": self.note.id,
                "entities": entities,
                "coverage": {
                    "chars": coverage.chars,
                    "read": coverage.read,
                    "windows": coverage.windows,
                },
                "bundle": self.bundle,
            },
            ensure_ascii=False,
        )
