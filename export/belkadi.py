"""Scores of word pieces, as Belkadi et al. (arXiv 2210.12770, 2023) report them.

Their figures are those of scikit-learn's classification report over the BIO tags of all word pieces
in a row, with O among the classes: no entity is ever compared as a whole. Here they stand beside
span scores, so that a reader sees how far apart the two are.

What is not as there: their input was a sentence cut at 180 pieces, and what was cut was not scored;
here notes are read whole, and every piece of the note counts once. Predicted tags are those of
the spans found, so that none is an I without a B.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import OUTSIDE, LabelScheme, spans_to_tags
from clin_edge.core.score import Average, Scores
from clin_edge.core.spans import Entity

NAME = "belkadi2023"
WHY_NOT_COMPARABLE = (
    "These count word pieces: half an entity earns credit, long words weigh more than short ones, "
    "and O, most of the text, is a class like the others; span scores count whole entities, so the "
    "two cannot be compared."
)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall and F1 of a class or of several; ``support`` is its pieces in the gold."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class TagReport:
    """A classification report over pieces.

    Attributes:
        by_class: The classes that gold or prediction has, in the scheme's order, O among them.
        absent: Those that neither has. As in scikit-learn they are no classes at all: they do not
            lower the macro average.
        accuracy: Share of the pieces with the right class.
        macro: Mean over ``by_class``.
        weighted: The same, weighted by support.
        macro_without_o: Mean over ``by_class`` without O. A piece that is O in the gold still
            makes the precision of the class it was given worse.
        weighted_without_o: The same, weighted by support.
        micro_without_o: Of all classes but O, counted together.
    """

    by_class: Mapping[str, ClassScore]
    absent: tuple[str, ...]
    accuracy: float
    macro: ClassScore
    weighted: ClassScore
    macro_without_o: ClassScore
    weighted_without_o: ClassScore
    micro_without_o: ClassScore


@dataclass(frozen=True, slots=True)
class PieceScores:
    """The report by BIO tag, and the one by type: B- and I- of a label made one class."""

    pieces: int
    tags: TagReport
    types: TagReport

    def as_dict(self) -> dict[str, object]:
        """Give plain values for JSON; four decimals."""
        return {
            "why_not_comparable": WHY_NOT_COMPARABLE,
            "pieces": self.pieces,
            "tags": _rounded(asdict(self.tags)),
            "types": _rounded(asdict(self.types)),
        }


def piece_scores(
    gold: Sequence[Labelled],
    found: Mapping[str, Sequence[Entity]],
    encoder: Encoder,
    scheme: LabelScheme,
) -> PieceScores:
    """Score what was found (by note id) piece by piece, over the encoder's pieces of each note.

    Where gold entities overlap, the longer one has the pieces, then the earlier. A prediction whose
    label the note does not mark is left out, as in ``score``.

    Raises:
        InputError: If a gold label stands for several (``A|B``): a piece has one tag.
    """
    several = sorted({m for item in gold for m in item.marked if m not in scheme.types})
    if several:
        raise InputError(
            f"--like {NAME}: a piece has one tag, and the gold label {several[0]} is none of the "
            "model's; rename it with --map"
        )
    tags: tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]] = ([], [])
    for item in gold:
        offsets = encoder.encode(item.note).offsets
        for listed, side in zip((item.entities, found.get(item.note.id, ())), tags, strict=True):
            marked = [entity for entity in listed if entity.label in item.marked]
            side.append(spans_to_tags(marked, offsets, scheme))
    wanted, got = (np.concatenate([np.zeros(0, dtype=np.intp), *side]) for side in tags)
    return PieceScores(
        pieces=len(wanted),
        tags=tag_report(wanted, got, scheme.tags),
        types=tag_report((wanted + 1) // 2, (got + 1) // 2, (scheme.tags[0], *scheme.types)),
    )


def tag_report(
    gold: NDArray[np.intp], predicted: NDArray[np.intp], names: Sequence[str]
) -> TagReport:
    """Compare the classes (N,) of pieces, each an index into ``names``, of which O is the first.

    What has nothing to divide by is 0.
    """
    n = len(names)
    table = np.bincount(gold * n + predicted, minlength=n * n).reshape(n, n)
    right, support, given = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    present = np.flatnonzero(support + given)
    inside = present[present > 0]
    per_class = _rates(right, given, support)

    def mean(of: NDArray[np.intp], weights: NDArray[np.int64]) -> ClassScore:
        total = (per_class[of] * weights[of, None]).sum(axis=0)
        return _class_score(total / max(int(weights[of].sum()), 1), support[of].sum())

    ones = np.ones(n, dtype=np.int64)
    summed = [counts[inside].sum() for counts in (right, given, support)]
    return TagReport(
        by_class={names[i]: _class_score(per_class[i], support[i]) for i in present.tolist()},
        absent=tuple(names[i] for i in range(n) if i not in present),
        accuracy=float(right.sum() / max(len(gold), 1)),
        macro=mean(present, ones),
        weighted=mean(present, support),
        macro_without_o=mean(inside, ones),
        weighted_without_o=mean(inside, support),
        micro_without_o=_class_score(_rates(*summed), summed[-1]),
    )


def table(scores: PieceScores, spans: Mapping[str, Scores]) -> list[str]:
    """Give the lines of a table: all classes together beside span scores, then class by class."""
    lines = [
        f"like {NAME}: {scores.pieces:,} word pieces",
        f"  {'':<26} {'macro P':>8} {'macro R':>8} {'macro F1':>9} {'weighted F1':>12} "
        f"{'micro F1':>9}",
    ]
    together: tuple[ClassScore | Average, float, float]
    for name, report in (("tags", scores.tags), ("types", scores.types)):
        n, has_o = len(report.by_class), OUTSIDE in report.by_class
        together = report.macro, report.weighted.f1, report.accuracy
        lines.append(_together(f"pieces, {n} {name} with O", *together))
        together = report.macro_without_o, report.weighted_without_o.f1, report.micro_without_o.f1
        lines.append(_together(f"pieces, {n - has_o} {name} but O", *together))
    for match, result in spans.items():
        together = result.macro, result.weighted.f1, result.micro.counts.f1
        lines.append(_together(f"entities, {match}", *together))
    lines += textwrap.wrap(
        f"{WHY_NOT_COMPARABLE} Micro with O is accuracy.",
        width=98,
        initial_indent="  ",
        subsequent_indent="  ",
    )
    for name, report in (("tag", scores.tags), ("type", scores.types)):
        lines.append(f"  {name:<18} {'P':>6} {'R':>6} {'F1':>6} {'pieces':>10}")
        lines += [
            f"  {one:<18.18} {c.precision:6.3f} {c.recall:6.3f} {c.f1:6.3f} {c.support:10,}"
            for one, c in report.by_class.items()
        ]
        if report.absent:
            n = len(report.absent)
            lines.append(f"  {n} more that no piece has, in gold or prediction: not averaged")
    return lines


def _together(name: str, macro: ClassScore | Average, weighted: float, micro: float) -> str:
    return (
        f"  {name:<26} {macro.precision:8.3f} {macro.recall:8.3f} {macro.f1:9.3f} "
        f"{weighted:12.3f} {micro:9.3f}"
    )


def _rates(right: Any, given: Any, support: Any) -> NDArray[np.float64]:
    """Give precision, recall and F1 (…, 3) of counts (…)."""
    both = np.maximum(given + support, 1)
    return np.stack(
        [right / np.maximum(given, 1), right / np.maximum(support, 1), 2 * right / both], axis=-1
    )


def _class_score(rates: NDArray[np.float64], support: int) -> ClassScore:
    precision, recall, f1 = rates.tolist()
    return ClassScore(precision, recall, f1, int(support))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return round(value, 4) if isinstance(value, float) else value
