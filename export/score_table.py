"""Scores, and differences of scores, as tables of at most 100 columns."""

from __future__ import annotations

from collections.abc import Mapping

from clin_edge.core.score import Average, Row, Scores
from clin_edge.core.score_difference import Difference, Gap

_HEADS = f"{'P':>5} {'R':>5} {'F1':>5} {'95 % of F1':>11}"


def table(scores: Mapping[str, Scores]) -> list[str]:
    """Give the lines of a table: labels and averages down, kinds of match across.

    Strict and lenient show precision, recall, F1 and its interval; partial shows F1 alone.
    """
    strict, lenient, partial = (scores[match] for match in ("strict", "lenient", "partial"))
    golds = {label: f"{row.counts.gold:,}" for label, row in strict.by_label.items()}
    golds["micro"] = f"{strict.micro.counts.gold:,}"
    lines = [
        f"{strict.n_notes:,} notes, {strict.micro.counts.gold:,} gold entities, "
        f"{strict.micro.counts.found:,} found",
        f"  {'':<18} {'':>7} {'strict':<30}{'lenient':<30}partial",
        f"  {'label':<18} {'gold':>7} {_HEADS} {_HEADS} {'F1':>7}",
    ]
    rows = zip(_rows(strict).items(), _rows(lenient).values(), _rows(partial).values(), strict=True)
    for (name, exact), loose, half in rows:
        lines.append(
            f"  {name:<18.18} {golds.get(name, ''):>7} {_cells(exact)} {_cells(loose)} "
            f"{_rates(half)[2]:7.3f}"
        )
    lines += [
        "  strict: start, end and label. lenient: label and a shared character. partial: half for "
        "the latter.",
        f"  macro: mean over {strict.macro.n} labels. by document: mean over the "
        f"{strict.by_document.n:,} notes with an entity, gold or found.",
    ]
    return lines


def versus_table(versus: Mapping[str, Difference]) -> list[str]:
    """Give the verdict in one line, then the lines of a table: F1 of both and the difference."""
    lines = [
        verdict(versus["strict"]),
        f"  {'F1':<18} {'match':<8} {'WHAT':>6} {'OTHER':>6} {'diff':>7} {'95 %':>18} {'flips':>8}",
    ]
    lines += [_gap_line(*row, "strict") for row in versus["strict"].by_label.items()]
    for match, one in versus.items():
        lines.append(_gap_line("micro", one.micro, match))
        lines.append(_gap_line("macro by label", one.macro, match))
    lines.append(
        "  flips: resamples of the notes, each scoring both, in which the better one is not better."
    )
    return lines


def verdict(difference: Difference) -> str:
    """Say in one line which has the higher micro F1, and whether the interval holds 0."""
    gap = difference.micro
    where = f"{difference.match} micro F1, {difference.n_notes:,} notes:"
    interval = f"95 % {gap.low:+.4f} to {gap.high:+.4f}"
    if gap.difference == 0:
        return f"{where} WHAT and OTHER are equal; {interval}"
    better, lead = ("WHAT" if gap.difference > 0 else "OTHER"), abs(gap.difference)
    holds = "holds 0, perhaps luck" if gap.holds_zero else "does not hold 0"
    return f"{where} {better} leads by {lead:.4f}; {interval} {holds}"


def _rows(scores: Scores) -> dict[str, Row | Average]:
    return {
        **scores.by_label,
        "micro": scores.micro,
        "macro by label": scores.macro,
        "weighted by gold": scores.weighted,
        "macro by document": scores.by_document,
    }


def _rates(row: Row | Average) -> tuple[float, float, float]:
    of = row.counts if isinstance(row, Row) else row
    return of.precision, of.recall, of.f1


def _cells(row: Row | Average) -> str:
    precision, recall, f1 = _rates(row)
    return f"{precision:5.3f} {recall:5.3f} {f1:5.3f} {row.f1_low:.3f}–{row.f1_high:.3f}"


def _gap_line(name: str, gap: Gap, match: str) -> str:
    flips = "" if gap.flips is None else f"{100 * gap.flips:.1f} %"
    return (
        f"  {name:<18.18} {match:<8} {gap.f1:6.3f} {gap.other_f1:6.3f} {gap.difference:+7.3f} "
        f"{gap.low:+8.3f} to {gap.high:+.3f} {flips:>8}"
    )
