"""``clin-edge diff``: what a new bundle would change, told on the hospital's own notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clin_edge.core.errors import GateError
from clin_edge.runtime.cli import engine_option, notes_options, threads_option

if TYPE_CHECKING:
    from clin_edge.runtime.diff import Diff, Limits, Row

MAX_PAIRS = 10
_BUNDLE = click.Path(path_type=Path)


@click.command()
@click.argument("old", type=_BUNDLE)
@click.argument("new", type=_BUNDLE)
@click.argument("notes", nargs=-1, required=True)
@click.option(
    "--max-change",
    type=float,
    default=0.01,
    show_default=True,
    help="Largest share of spans that may differ.",
)
@click.option(
    "--max-label-change",
    type=float,
    default=0.02,
    show_default=True,
    help="The same for each label with at least 100 spans in OLD.",
)
@click.option(
    "--worst",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the most changed notes to name.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@threads_option
@engine_option
@notes_options
def diff(
    old: Path,
    new: Path,
    notes: tuple[str, ...],
    max_change: float,
    max_label_change: float,
    worst: int,
    as_json: bool,
    threads: int | None,
    engine: str,
    id_column: str,
    text_column: str,
    max_note_chars: int,
) -> None:
    """Read NOTES with the bundles OLD and NEW and say how the spans they find differ.

    NOTES are given as to extract. No text of a note is shown or kept. The share of spans that
    differ is 1 less the span F1 of one bundle with the other as gold. Above a limit the command
    ends with exit code 7. The default limits fit a bundle that should answer as the old one does
    (quantised again, another engine); one that was trained anew needs higher ones.

    \b
    Example:
      clin-edge diff bundle-2025 bundle-2026 notes/ --max-change 0.05
    """
    from clin_edge.core.notes import NoteFormat, check_notes, read_notes
    from clin_edge.runtime.diff import Limits, diff_bundles
    from clin_edge.runtime.notes_parquet import READERS
    from clin_edge.runtime.pipeline import Pipeline

    try:
        limits = Limits(max_change, max_label_change)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    note_format = NoteFormat(id_column, text_column, max_note_chars, READERS)
    check_notes(notes, note_format)
    before, after = (
        Pipeline.from_bundle(path, engine=engine, threads=threads) for path in (old, new)
    )
    for word, pipeline in (("old", before), ("new", after)):
        facts = pipeline.bundle.manifest
        said = f"{word}: {facts.name} {facts.version}, {facts.precision}, {pipeline.bundle.id}"
        click.echo(said, err=True)
    found = diff_bundles(before, after, read_notes(notes, note_format), n_worst=worst)
    refused = refusal(found, limits)
    if as_json:
        bundles = {"old": before.bundle.id, "new": after.bundle.id}
        gate = {
            "max_change": limits.total,
            "max_label_change": limits.label,
            "change_exceeded": limits.total_exceeded(found),
            "labels_exceeded": limits.labels_exceeded(found),
            "passed": not refused,
        }
        click.echo(json.dumps({**bundles, **found.as_dict(), "gate": gate}, indent=2))
    else:
        click.echo("\n".join(table(found)))
    for words in remarks(found, same_bundle=before.bundle.id == after.bundle.id):
        click.echo(words, err=True)
    if refused:
        raise GateError(
            f"{new}: {refused}; look at the notes listed, and if the change is wanted raise the "
            "limit"
        )
    click.echo(approval(found, limits), err=True)


def table(diff: Diff) -> list[str]:
    """Give the lines of a table of at most 100 columns, and of the lists below it."""
    lines = [
        f"{diff.n_notes:,} notes, {diff.n_changed:,} of them with a change",
        f"  {'':<18} {'':>7} {'':>7} {'':>7} {'':>6}   relabelled",
        f"  {'label':<18} {'old':>7} {'new':>7} {'same':>7} {'moved':>6} {'out':>6} {'in':>6} "
        f"{'lost':>6} {'gained':>6} {'agree':>6} {'95 %':>13}",
        *(_line(label, row) for label, row in diff.by_label.items()),
        _line("all", diff.total),
    ]
    if diff.relabelled:
        lines += ["", f"  {'relabelled':>10}  from, to"]
        pairs = list(diff.relabelled.items())[:MAX_PAIRS]
        lines += [f"  {count:>10,}  {old}, {new}" for (old, new), count in pairs]
    if diff.worst:
        lines += [
            "",
            f"  {'changes':>10} {'moved':>6} {'relab.':>6} {'lost':>6} {'gained':>6}  note",
        ]
        lines += [
            f"  {note.total:>10,} {note.moved:>6,} {note.relabelled:>6,} {note.lost:>6,} "
            f"{note.gained:>6,}  {note.id if note.id.isprintable() else ascii(note.id)}"
            for note in diff.worst
        ]
    return lines


def remarks(diff: Diff, *, same_bundle: bool) -> list[str]:
    """Give the lines that say how to read the table, and what to beware of."""
    said = [
        "moved: same label, other borders. relabelled: found by both under two labels (out of the "
        "old one, into the new one).",
        "agree: span F1 of one bundle with the other as gold; 95 %: its interval over the notes.",
    ]
    for word, labels in (("OLD", diff.only_old), ("NEW", diff.only_new)):
        if labels:
            said.append(f"only {word} knows {', '.join(labels)}: compared over the labels of both")
    if same_bundle:
        said.append("OLD and NEW are the same bundle")
    return said


def refusal(diff: Diff, limits: Limits) -> str:
    """Say what is above which limit; nothing if all is within."""
    told = []
    if limits.total_exceeded(diff):
        told.append(f"{_differ(diff.total)}, above the limit of {_percent(limits.total)}")
    labels = limits.labels_exceeded(diff)
    if labels:
        shares = (f"{one} {100 * diff.by_label[one].changes.change:.2f} %" for one in labels)
        limit = _percent(limits.label)
        told.append(f"above the limit of {limit} for a label: {', '.join(shares)}")
    return "; ".join(told)


def approval(diff: Diff, limits: Limits) -> str:
    """Say that the change is within the limits."""
    changes = diff.total.changes
    if not changes.old + changes.new:
        return "neither bundle finds anything in these notes: there is nothing to compare"
    if not changes.change:
        return f"both bundles find the same {changes.new:,} spans"
    return f"{_differ(diff.total)}: within the limit of {_percent(limits.total)}"


def _differ(row: Row) -> str:
    bounds = f"{100 * (1 - row.high):.2f} to {100 * (1 - row.low):.2f} %"
    return f"{100 * row.changes.change:.2f} % of the spans differ (95 % interval {bounds})"


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"


def _line(name: str, row: Row) -> str:
    one = row.changes
    sizes = f"{one.old:>7,} {one.new:>7,} {one.same:>7,} {one.moved:>6,}"
    sides = f"{one.relabelled_out:>6,} {one.relabelled_in:>6,} {one.lost:>6,} {one.gained:>6,}"
    rate = f"{one.agreement:6.4f} {row.low:6.4f}–{row.high:6.4f}" if one.old + one.new else ""
    return f"  {name:<18.18} {sizes} {sides} {rate}".rstrip()
