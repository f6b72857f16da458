"""Scores of anything that finds entities: a bundle, a student, or a file of records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.core.labelled import Labelled, keep_labels, read_predictions
from clin_edge.core.logs import log
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.predict import Predictor
from clin_edge.core.score import Scores, score
from clin_edge.core.score_difference import Difference, difference
from clin_edge.core.score_errors import Errors, find_errors
from clin_edge.core.score_match import MATCHES
from clin_edge.core.spans import Entity
from clin_edge.export import belkadi
from clin_edge.export.score_table import table, verdict, versus_table
from clin_edge.runtime.pipeline import Pipeline
from clin_edge.runtime.writers.partial import cannot_write, partial_name

Found = Mapping[str, Sequence[Entity]]
LIKE = {belkadi.NAME: belkadi.piece_scores}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What something found in gold notes.

    Attributes:
        gold: The gold notes, without the labels that it has no tag for.
        found: Entities by note id.
        predictor: What found them; None if they were read from a file.
    """

    gold: Sequence[Labelled]
    found: Found
    predictor: Predictor | None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All that was asked about WHAT: its scores, and what else was wanted.

    Attributes:
        scores: By kind of match.
        other: Where the other thing lies, if there is one.
        versus: By kind of match, the difference from the other; empty without one.
        like: Scores as in a paper, by the paper's name.
        errors: What went wrong; it holds words of notes.
    """

    what: Path
    scores: Mapping[str, Scores]
    other: Path | None
    versus: Mapping[str, Difference]
    like: Mapping[str, belkadi.PieceScores]
    errors: Errors | None

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; no word of a note is among them."""
        shown: dict[str, object] = {match: one.as_dict() for match, one in self.scores.items()}
        if self.versus:
            shown["versus"] = {
                "what": str(self.what),
                "other": str(self.other),
                "verdict": verdict(self.versus["strict"]),
                **{match: one.as_dict() for match, one in self.versus.items()},
            }
        if self.like:
            shown["like"] = {name: one.as_dict() for name, one in self.like.items()}
        if self.errors is not None:
            shown["confused"] = self.errors.confusion_dict()
        return shown

    def lines(self) -> list[str]:
        """Give the same as text to read."""
        lines = table(self.scores)
        if self.versus:
            lines += ["", *versus_table(self.versus)]
        for pieces in self.like.values():
            lines += ["", *belkadi.table(pieces, self.scores)]
        return lines


def report(
    what: Path,
    gold: Sequence[Labelled],
    *,
    other: Path | None = None,
    like: Iterable[str] = (),
    with_errors: bool = False,
) -> Report:
    """Score ``what`` against gold notes, and ``other`` on the same notes.

    Gold labels that a bundle or student has no tag for are left out, and that is said; from the
    difference also those that only ``other`` has none for.

    Raises:
        InputError: If either is neither a bundle, a student folder nor a JSONL file, if a file of
            records lacks one of the gold notes, if no gold label is one of the model's, or if
            ``like`` needs word pieces and ``what`` has none.
    """
    ours = answer(what, gold)
    pieces = {}
    for name in like:
        if ours.predictor is None:
            raise InputError(
                f"{what}: --like {name} scores a model's word pieces; give a bundle or a student "
                "folder, not records"
            )
        encoder, scheme = ours.predictor.encoder, ours.predictor.scheme
        pieces[name] = LIKE[name](ours.gold, ours.found, encoder, scheme)
    versus: dict[str, Difference] = {}
    if other is not None:
        theirs = answer(other, ours.gold)
        both = (theirs.gold, ours.found, theirs.found)
        versus = {match: difference(*both, match=match) for match in MATCHES}
    errors = find_errors(ours.gold, ours.found) if with_errors else None
    return Report(what, _scores(ours), other, versus, pieces, errors)


def evaluate(what: Path, gold: Sequence[Labelled]) -> dict[str, Scores]:
    """Score ``what`` against gold notes as ``report`` does; gives the scores by kind of match."""
    return _scores(answer(what, gold))


def answer(what: Path, gold: Sequence[Labelled]) -> Answers:
    """Find the entities of the gold notes with ``what``, or look them up in it."""
    predictor = open_predictor(what)
    if predictor is None:
        return Answers(gold, _look_up(what, gold), None)
    gold = scorable(gold, predictor.scheme.types, str(what))
    if not any(item.marked for item in gold):
        raise InputError(f"{what}: finds none of the labels that the gold notes mark")
    return Answers(gold, find_with(predictor, gold), predictor)


def scorable(
    gold: Sequence[Labelled], types: Sequence[str], who: str = "the model"
) -> list[Labelled]:
    """Leave out of gold notes the labels that a model of these types could never find."""
    kept = keep_labels(gold, types)
    left_out = {m for item in gold for m in item.marked} - {m for item in kept for m in item.marked}
    if left_out:
        log.warning("not scored, %s has no such label: %s", who, ", ".join(sorted(left_out)))
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


def find_with(predictor: Predictor, gold: Sequence[Labelled]) -> Found:
    """Let a predictor read the gold notes; gives entities by note id."""
    readings = predictor.read(item.note for item in gold)
    return {reading.note.id: reading.entities for reading in readings}


def check_errors_file(path: Path, read: Iterable[Path]) -> None:
    """Refuse a place for ``write_errors`` that is no file of its own.

    Raises:
        InputError: If it is one of the files that are ``read``, a link, a folder or a device
            (words of notes go neither to a screen nor through a pipe).
    """
    taken = {one.resolve() for one in read}
    if path.is_symlink() or (path.exists() and not path.is_file()) or path.resolve() in taken:
        raise InputError(f"{path}: read from, or not a plain file; name another file for --errors")


def write_errors(path: Path, errors: Errors) -> None:
    """Write what went wrong as JSONL, for the user's own eyes only (mode 0600).

    The file holds words of notes. It appears whole or not at all.

    Raises:
        InputError: If it cannot be written.
    """
    partial = partial_name(path)
    with cannot_write(path):
        partial.unlink(missing_ok=True)
        place = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(place, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in errors.json_lines())
        partial.replace(path)


def _scores(answers: Answers) -> dict[str, Scores]:
    return {match: score(answers.gold, answers.found, match=match) for match in MATCHES}


def _look_up(records: Path, gold: Sequence[Labelled]) -> Found:
    found = read_predictions(records)
    missing = [item.note.id for item in gold if item.note.id not in found]
    if missing:
        raise InputError(
            f"{records}: has no record of {len(missing)} gold notes, the first is {missing[0]!r}"
        )
    for item in gold:
        if any(entity.span.end > len(item.note.text) for entity in found[item.note.id]):
            raise InputError(
                f"{records}: an entity of note {item.note.id!r} ends after the gold note's text; "
                "were the records made of another text?"
            )
    return found
