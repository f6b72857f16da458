"""Every set of teachers under every rule, scored against gold notes; the best, scored again.

The best of many is partly the luckiest, so its score where it was chosen is too good. It is
therefore chosen on some gold notes and scored again on others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled, keep_labels
from clin_edge.core.logs import log
from clin_edge.core.score import Row, Scores, score
from clin_edge.distill.merging.rules import RULES, UNION, merge_notes
from clin_edge.distill.merging.silver import Teachers, said_by

MAX_TEACHERS = 8
TOP = 10
MATCHES = ("strict", "lenient")


@dataclass(frozen=True, slots=True)
class Trial:
    """Some teachers, merged under a rule, and how right that is.

    ``first`` are the scores (by kind of match) on the notes that the choice is made on, ``second``
    those on other notes, empty until ``score_again``. One teacher alone stands under ``union``,
    since it is the same under every rule.
    """

    teachers: tuple[str, ...]
    rule: str
    first: Mapping[str, Scores]
    second: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        """The counts by which trials are ranked: strict, all labels together, first notes."""
        return self.first["strict"].micro


def try_all(teachers: Teachers, gold: Sequence[Labelled]) -> list[Trial]:
    """Score every teacher alone and every set of several under every rule, best first.

    Equals stand in the order fewer teachers, then the rules' own, then names.

    Raises:
        InputError: If there are more than ``MAX_TEACHERS``.
    """
    if len(teachers) > MAX_TEACHERS:
        raise InputError(
            f"{len(teachers)} teachers make {2 ** len(teachers) - 1} sets to score; "
            f"give at most {MAX_TEACHERS} files with --gold"
        )
    trials = []
    for size in range(1, len(teachers) + 1):
        rules = RULES if size > 1 else (UNION,)
        for names in combinations(teachers, size):
            trials += _trials(names, rules, teachers, gold)
    trials.sort(key=lambda t: (-t.row.counts.f1, len(t.teachers), RULES.index(t.rule), t.teachers))
    return trials


def choose(
    teachers: Teachers, first: Sequence[Labelled], second: Sequence[Labelled]
) -> list[Trial]:
    """Score all trials on the first notes, best first; the best ten and each teacher again.

    Raises:
        InputError: If there are too many teachers, or a note is both among first and second.
    """
    if {item.note.id for item in first} & {item.note.id for item in second}:
        raise InputError("--gold and --second share notes; the best must be scored on others")
    return [
        score_again(trial, teachers, second) if place < TOP or len(trial.teachers) == 1 else trial
        for place, trial in enumerate(try_all(teachers, first))
    ]


def score_again(trial: Trial, teachers: Teachers, gold: Sequence[Labelled]) -> Trial:
    """Give the trial with its scores on other gold notes as ``second``."""
    (again,) = _trials(trial.teachers, (trial.rule,), teachers, gold)
    return replace(trial, second=again.first)


def scorable(where: Path, gold: Sequence[Labelled], teachers: Teachers) -> list[Labelled]:
    """Keep the gold notes that every teacher has, so that all trials are about the same notes.

    Labels that no teacher marks are left out, since no choice of teachers changes them. What is
    left out is said.

    Raises:
        InputError: If nothing is left, or a note has another text than in the teachers' files.
    """
    notes = said_by(teachers)
    kept = []
    for item in gold:
        said = notes.get(item.note.id, {})
        if any(other.note.text != item.note.text for other in said.values()):
            raise InputError(
                f"{where}: the note {item.note.id!r} has another text in the teachers' files"
            )
        if len(said) == len(teachers):
            kept.append(item)
    if not kept:
        raise InputError(
            f"{where}: none of its {len(gold):,} notes is in every teacher's file; "
            "let all teachers label the gold notes too"
        )
    if len(kept) < len(gold):
        log.warning(
            "%s: %d of %d notes are not in every teacher's file and are not scored",
            *(where, len(gold) - len(kept), len(gold)),
        )
    marks = {label for items in teachers.values() for i in items.values() for label in i.covered}
    scored = keep_labels(kept, marks)
    left_out = _marked(kept) - _marked(scored)
    if left_out:
        log.warning("%s: not scored, no teacher marks: %s", where, ", ".join(sorted(left_out)))
    if not _marked(scored):
        raise InputError(f"{where}: marks none of the labels that the teachers mark")
    return scored


def halves(gold: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Split notes in two by a hash of their ids, so that a note's half never changes.

    Raises:
        InputError: If all fall on one side.
    """
    parts: tuple[list[Labelled], list[Labelled]] = ([], [])
    for item in gold:
        parts[blake2b(item.note.id.encode(), digest_size=1).digest()[0] % 2].append(item)
    if not all(parts):
        raise InputError(
            f"{len(gold)} gold notes are too few to choose on some and score again on others; "
            "give more, or other notes with --second"
        )
    return parts


def _trials(
    names: Sequence[str], rules: Iterable[str], teachers: Teachers, gold: Sequence[Labelled]
) -> list[Trial]:
    ids = [item.note.id for item in gold]
    notes = {note_id: {name: teachers[name][note_id] for name in names} for note_id in ids}
    return [
        Trial(tuple(names), rule, {match: score(gold, found, match=match) for match in MATCHES})
        for rule, found in merge_notes(notes, rules).items()
    ]


def _marked(items: Iterable[Labelled]) -> set[str]:
    return {label for item in items for label in item.marked}
