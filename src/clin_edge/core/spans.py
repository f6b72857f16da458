"""Places in a note's text, and what was found there. Offsets are Unicode code points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The characters ``start <= i < end`` of one note.

    Raises:
        ValueError: If the span is empty, reversed or starts before the text.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse what is not a span."""
        if not 0 <= self.start < self.end:
            raise ValueError(f"span needs 0 <= start < end, got [{self.start}, {self.end})")

    def overlaps(self, other: Span) -> bool:
        """Tell whether the two share at least one character."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """A span that bears a label.

    ``label`` may be written ``A|B``: one of these, not known which (see ``alternatives``).
    ``score`` is in [0, 1]; a human or ontology label has 1. ``source`` names who said so:
    a student's name, or a teacher and its code (``rxnorm:900001``). It holds no text. ``assertion``
    says what the note claims of it (``runtime.context``); empty if nobody looked.

    Raises:
        ValueError: If the label is empty or the score leaves [0, 1].
    """

    span: Span
    label: str
    score: float = 1.0
    source: str = ""
    assertion: str = ""

    def __post_init__(self) -> None:
        """Refuse an empty label or a score that is none."""
        if not self.label or not all(alternatives(self.label)):
            raise ValueError(f"an entity needs a label, got {self.label!r}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], got {self.score}")


def alternatives(label: str) -> tuple[str, ...]:
    """Give the labels that ``label`` may stand for.

    >>> alternatives("DISEASE|SYMPTOM"), alternatives("ROUTE")
    (('DISEASE', 'SYMPTOM'), ('ROUTE',))
    """
    return tuple(label.split("|"))
