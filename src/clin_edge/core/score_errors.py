"""What went wrong: labels taken for each other, and the words most often missed or invented."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clin_edge.core.labelled import Labelled
from clin_edge.core.score_match import Place, match_note, meant
from clin_edge.core.spans import Entity

MOST_FREQUENT = 500


@dataclass(frozen=True, slots=True)
class Form:
    """A surface form of one label that was ``missed`` or ``invented`` ``count`` times.

    Attributes:
        label: The label, as it is counted in the scores.
        text: The note's words, in lower case, blanks made one. Never shown by ``repr``.
        count: How often.
        of: How often the form stands in the gold (missed), or was predicted (invented).
        wrong_ends: In how many of ``count`` an entity of this label overlaps on the other side.
        wrong_label: In how many another label stands at the same place there.
    """

    label: str
    text: str = field(repr=False)
    count: int
    of: int
    wrong_ends: int
    wrong_label: int


@dataclass(frozen=True, slots=True)
class Errors:
    """``confused`` counts the gold and predicted label of the spans that are right but for these.

    Forms come most frequent first, at most ``MOST_FREQUENT`` of each kind.
    """

    confused: Mapping[tuple[str, str], int]
    missed: Sequence[Form]
    invented: Sequence[Form]

    def confusion_dict(self) -> dict[str, dict[str, int]]:
        """Give the confusion of labels, by gold label and then by what was found; no words."""
        table: dict[str, dict[str, int]] = {}
        for (gold, found), count in self.confused.items():
            table.setdefault(gold, {})[found] = count
        return table

    def json_lines(self) -> Iterator[str]:
        """Write one JSON object a line: kind ``confused``, ``missed`` or ``invented``.

        The last two hold words of notes.
        """
        for (gold, found), count in self.confused.items():
            row = {"kind": "confused", "gold": gold, "found": found, "count": count}
            yield json.dumps(row, ensure_ascii=False)
        for kind, forms in (("missed", self.missed), ("invented", self.invented)):
            for form in forms:
                row = {
                    "kind": kind,
                    "label": form.label,
                    "form": form.text,
                    "count": form.count,
                    "of": form.of,
                    "wrong_ends": form.wrong_ends,
                    "wrong_label": form.wrong_label,
                }
                yield json.dumps(row, ensure_ascii=False)


def find_errors(gold: Sequence[Labelled], predicted: Mapping[str, Sequence[Entity]]) -> Errors:
    """Say what strict scoring counts as wrong in predictions (by note id)."""
    confused: Counter[tuple[str, str]] = Counter()
    missed, invented = _Forms(), _Forms()
    for item in gold:
        text = item.note.text
        matching = match_note(item, predicted.get(item.note.id, ()), "strict")
        for (start, end, label), found, _ in matching.met:
            missed.of[label, _form(text, start, end)] += 1
            invented.of[found[2], _form(text, start, end)] += 1
        golds = matching.missed + [g for g, _, _ in matching.met]
        founds = matching.invented + [p for _, p, _ in matching.met]
        for wanted in matching.missed:
            missed.add(text, wanted, founds)
            confused.update((wanted[2], p[2]) for p in matching.invented if p[:2] == wanted[:2])
        for made in matching.invented:
            invented.add(text, made, golds)
    ordered = dict(sorted(confused.items(), key=lambda one: (-one[1], one[0])))
    return Errors(ordered, missed.most_frequent(), invented.most_frequent())


class _Forms:
    """Counts of forms, by label and text: in all, wrong, and in which way."""

    def __init__(self) -> None:
        self.of: Counter[tuple[str, str]] = Counter()
        self._wrong: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])

    def add(self, text: str, place: Place, others: Sequence[Place]) -> None:
        """Count an entity that no one of the ``others`` met."""
        start, end, label = place
        key = (label, _form(text, start, end))
        self.of[key] += 1
        wrong = self._wrong[key]
        wrong[0] += 1
        near = [other for other in others if other[0] < end and start < other[1]]
        wrong[1] += any(not meant(other[2]).isdisjoint(meant(label)) for other in near)
        wrong[2] += any(
            other[:2] == (start, end) and meant(other[2]).isdisjoint(meant(label)) for other in near
        )

    def most_frequent(self) -> list[Form]:
        forms = [
            Form(label, text, count, self.of[label, text], ends, named)
            for (label, text), (count, ends, named) in self._wrong.items()
        ]
        forms.sort(key=lambda form: (-form.count, form.label, form.text))
        return forms[:MOST_FREQUENT]


def _form(text: str, start: int, end: int) -> str:
    return " ".join(text[start:end].lower().split())
