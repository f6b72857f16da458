"""Scores of anything that finds entities: a bundle, a student, or a file of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.core.labelled import Labelled, read_predictions
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.predict import Predictor
from clin_edge.core.score import Scores, score
from clin_edge.core.spans import Entity
from clin_edge.runtime.pipeline import Pipeline

Found = Mapping[str, Sequence[Entity]]


def evaluate(what: Path, gold: Sequence[Labelled]) -> dict[str, Scores]:
    """Score ``what`` against gold notes; gives the scores by kind of match.

    Raises:
        InputError: If ``what`` is neither a bundle, a student folder nor a JSONL file, or a file
            of records lacks one of the gold notes.
    """
    found = find(what, gold)
    return {match: score(gold, found, match=match) for match in ("strict", "lenient")}


def find(what: Path, gold: Sequence[Labelled]) -> Found:
    """Let ``what`` read the notes, or look up what it wrote of them, by note id."""
    if (what / MANIFEST).is_file():
        return find_with(Pipeline.from_bundle(what).predictor, gold)
    if what.is_dir():
        try:
            from clin_edge.distill.student import TorchSession, load_student
        except ModuleNotFoundError as error:
            raise MissingInstallError("train", str(error.name)) from None
        student = load_student(what)
        session = TorchSession(student.model)
        return find_with(Predictor(student.encoder, student.scheme, session), gold)
    found = read_predictions(what)
    missing = [item.note.id for item in gold if item.note.id not in found]
    if missing:
        raise InputError(
            f"{what}: has no record of {len(missing)} gold notes, the first is {missing[0]!r}"
        )
    return found


def find_with(predictor: Predictor, gold: Sequence[Labelled]) -> Found:
    """Let a predictor read the gold notes; gives entities by note id."""
    readings = predictor.read(item.note for item in gold)
    return {reading.note.id: reading.entities for reading in readings}


def table(scores: Mapping[str, Scores]) -> list[str]:
    """Give the lines of a table: labels down, precision, recall, F1 and its interval across."""
    lines = []
    for match, result in scores.items():
        lines.append(f"{match}, {result.n_notes:,} notes")
        lines.append(f"  {'label':<18} {'P':>6} {'R':>6} {'F1':>6}  95 % of F1      gold")
        rows = {**result.by_label, "all (micro)": result.micro}
        for label, row in rows.items():
            c = row.counts
            lines.append(
                f"  {label:<18} {c.precision:6.3f} {c.recall:6.3f} {c.f1:6.3f}  "
                f"{row.f1_low:.3f}–{row.f1_high:.3f}  {c.tp + c.fn:8,}"
            )
    return lines
