"""Scores of anything that finds entities: a bundle, a student, or a file of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.core.labelled import Labelled, keep_labels, read_predictions
from clin_edge.core.logs import log
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.predict import Predictor
from clin_edge.core.score import Scores, score
from clin_edge.core.spans import Entity
from clin_edge.runtime.pipeline import Pipeline

Found = Mapping[str, Sequence[Entity]]


def evaluate(what: Path, gold: Sequence[Labelled]) -> dict[str, Scores]:
    """Score ``what`` against gold notes; gives the scores by kind of match.

    Gold labels that a bundle or student has no tag for are left out, and that is said.

    Raises:
        InputError: If ``what`` is neither a bundle, a student folder nor a JSONL file, if a file
            of records lacks one of the gold notes, or if no gold label is one of the model's.
    """
    predictor = open_predictor(what)
    if predictor is None:
        found: Found = _look_up(what, gold)
    else:
        gold = scorable(gold, predictor.scheme.types)
        if not any(item.marked for item in gold):
            raise InputError(f"{what}: finds none of the labels that the gold notes mark")
        found = find_with(predictor, gold)
    return {match: score(gold, found, match=match) for match in ("strict", "lenient")}


def scorable(gold: Sequence[Labelled], types: Sequence[str]) -> list[Labelled]:
    """Leave out of gold notes the labels that a model of these types could never find."""
    kept = keep_labels(gold, types)
    left_out = {m for item in gold for m in item.marked} - {m for item in kept for m in item.marked}
    if left_out:
        log.warning("not scored, the model has no such label: %s", ", ".join(sorted(left_out)))
    return kept


def open_predictor(what: Path) -> Predictor | None:
    """Make a bundle or a student folder ready to read notes; None if ``what`` is a file."""
    if (what / MANIFEST).is_file():
        return Pipeline.from_bundle(what).predictor
    if not what.is_dir():
        return None
    try:
        from clin_edge.distill.student import load_student
    except ModuleNotFoundError as error:
        raise MissingInstallError("train", str(error.name)) from None
    return load_student(what).predictor


def _look_up(records: Path, gold: Sequence[Labelled]) -> Found:
    found = read_predictions(records)
    missing = [item.note.id for item in gold if item.note.id not in found]
    if missing:
        raise InputError(
            f"{records}: has no record of {len(missing)} gold notes, the first is {missing[0]!r}"
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
