"""What a merge was made of, and how right it is: a table to read and JSON to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from clin_edge.core.labelled import Labelled
from clin_edge.core.score import Scores
from clin_edge.distill.merging.agreement import agreements
from clin_edge.distill.merging.agreement import as_dict as agreement_dict
from clin_edge.distill.merging.rules import Fits, find_clusters, fit_clusters
from clin_edge.distill.merging.silver import Teachers, said_by
from clin_edge.distill.merging.subsets import Trial


def table(trials: Sequence[Trial], n_first: int, n_second: int) -> list[str]:
    """Give the lines of a table of the trials that were scored twice, and what to make of it."""
    lines = [
        f"strict, all labels (who marks few misses the rest): on {n_first:,} gold notes, "
        f"and again on {n_second:,} others",
        "   F1  95 %             P      R  again  rule          teachers",
    ]
    for trial in trials:
        if trial.second:
            row, again = trial.row, trial.second["strict"].micro
            lines.append(
                f"{row.counts.f1:5.3f}  {row.f1_low:.3f}–{row.f1_high:.3f}  "
                f"{row.counts.precision:5.3f}  {row.counts.recall:5.3f}  {again.counts.f1:5.3f}  "
                f"{_rule(trial):<12}  {' + '.join(trial.teachers)}"
            )
    best = trials[0]
    again = best.second["strict"].micro
    lines.append(
        f"best of {len(trials):,}: {_rule(best)}, {' + '.join(best.teachers)}. Its F1 of "
        f"{best.row.counts.f1:.3f} is too good, being the best of many; on other notes it is "
        f"{again.counts.f1:.3f} ({again.f1_low:.3f}–{again.f1_high:.3f})"
    )
    return lines


def report(
    teachers: Teachers, written: Sequence[Labelled], names: Sequence[str], rule: str
) -> dict[str, object]:
    """Describe the teachers, what was written of them, and how far they agree."""
    notes = said_by(teachers)
    fits = fit_clusters((said, find_clusters(said)) for said in notes.values())
    return {
        "teachers": {name: _teacher_dict(items.values()) for name, items in teachers.items()},
        "notes": len(notes),
        "written": {"teachers": list(names), "rule": rule, **_teacher_dict(written)},
        "agreement": agreement_dict(agreements(notes.values())),
        "dawid_skene": _fits_dict(fits),
    }


def gold_report(trials: Sequence[Trial]) -> dict[str, object]:
    """Describe the choice, and all trials, best first."""
    best = trials[0]
    return {
        "choice": {
            "teachers": list(best.teachers),
            "rule": best.rule,
            "f1_first": round(best.row.counts.f1, 4),
            "f1_second": round(best.second["strict"].micro.counts.f1, 4),
        },
        "trials": [
            {
                "teachers": list(trial.teachers),
                "rule": trial.rule,
                "first": _scores_dict(trial.first),
                "second": _scores_dict(trial.second),
            }
            for trial in trials
        ],
    }


def _rule(trial: Trial) -> str:
    return trial.rule if len(trial.teachers) > 1 else "alone"


def _teacher_dict(items: Iterable[Labelled]) -> dict[str, object]:
    items = list(items)
    counts = Counter(entity.label for item in items for entity in item.entities)
    marked = {label for item in items for label in item.marked}
    return {
        "notes": len(items),
        "marked": sorted(marked),
        "entities": {label: counts[label] for label in sorted(counts)},
    }


def _fits_dict(fits: Fits) -> dict[str, object]:
    return {
        label: {
            "true_share": round(one.true_share, 6),
            "teachers": {
                name: {
                    "sensitivity": round(one.sensitivity[name], 4),
                    "false_alarm": round(one.false_alarm[name], 6),
                }
                for name in one.sensitivity
            },
        }
        for label, one in fits.items()
    }


def _scores_dict(scores: Mapping[str, Scores]) -> dict[str, object]:
    return {match: one.as_dict() for match, one in scores.items()}
