"""``clin-edge merge`` and ``clin-edge why``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from clin_edge.core.errors import InputError

FILE = click.Path(path_type=Path)
RULES = ("union", "intersection", "majority", "dawid-skene")
# Measured near the best both where teachers complete each other (union is best, majority far off)
# and where they err at random (union is far off).
DEFAULT_RULE = "dawid-skene"


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="Labelled notes to write (.jsonl).")
@click.option("--rule", type=click.Choice(RULES), help=f"Which entities to keep [{DEFAULT_RULE}].")
@click.option("--gold", type=FILE, help="Gold notes: score every set of teachers and every rule.")
@click.option("--second", type=FILE, help="Other gold notes, to score the best again.")
@click.option("--best", is_flag=True, help="Write what scored best, not --rule of all FILES.")
@click.option("--map", "pairs", multiple=True, metavar="FROM=TO", help="Rename the gold's labels.")
@click.option("--labels", multiple=True, help="Keep only these, A,B or one by one.")
@click.option("--report", "report_file", type=FILE, help="Write all scores and agreement as JSON.")
def merge(
    files: tuple[Path, ...],
    out: Path,
    rule: str | None,
    gold: Path | None,
    second: Path | None,
    best: bool,
    pairs: tuple[str, ...],
    labels: tuple[str, ...],
    report_file: Path | None,
) -> None:
    """Merge what several teachers said of the same notes; FILES are those that label writes.

    union keeps what any teacher says; intersection what all say that mark the label; majority what
    more than half of them say; dawid-skene weighs each teacher by how it agrees with the others.

    With --gold every set of teachers is scored under every rule. The best one's score is too good,
    for it was chosen among many; so it is chosen on one half of the gold notes and scored again on
    the other, or on those of --second.

    \b
    Example:
      clin-edge merge silver/*.jsonl -o silver.jsonl --gold dev.jsonl --best --report merge.json
    """
    if gold is None and (best or second or pairs):
        raise click.UsageError("--best, --second and --map need --gold")
    if best and rule:
        raise click.UsageError("--best chooses the rule itself; leave out --rule")
    from clin_edge.core.labelled import keep_labels, parse_map, read_labelled
    from clin_edge.distill.merging import report as reports
    from clin_edge.distill.merging import subsets
    from clin_edge.distill.merging.rules import merge_notes
    from clin_edge.distill.merging.silver import (
        merged_items,
        read_teachers,
        said_by,
        write_silver,
        write_whole,
    )

    golds = [path for path in (gold, second) if path]
    _spare([*files, *golds], [path for path in (out, report_file) if path])
    wanted = frozenset(one.strip() for word in labels for one in word.split(",")) or None
    teachers = read_teachers(files, wanted)
    names, rule = list(teachers), rule or DEFAULT_RULE
    facts: dict[str, object] = {}
    if golds:
        parts = []
        for path in golds:
            items = read_labelled(path, parse_map(pairs))
            items = keep_labels(items, wanted) if wanted else items
            parts.append(subsets.scorable(path, items, teachers))
        first, again = parts if second else subsets.halves(parts[0])
        trials = subsets.choose(teachers, first, again)
        for line in reports.table(trials, len(first), len(again)):
            _say(line)
        facts = reports.gold_report(trials)
        if best:
            names, rule = list(trials[0].teachers), trials[0].rule
    notes = said_by(teachers, names)
    merged = merged_items(notes, merge_notes(notes, [rule])[rule])
    if report_file:
        facts = reports.report(teachers, merged, names, rule) | facts
        write_whole(report_file, [json.dumps(facts, indent=2, ensure_ascii=False)])
    write_silver(out, merged)
    n_entities = sum(len(item.entities) for item in merged)
    _say(f"{out}: {n_entities:,} entities in {len(merged):,} notes, {rule} of {' + '.join(names)}")


@click.command()
@click.argument("term")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Write the counts as JSON.")
def why(term: str, folder: Path, as_json: bool) -> None:
    """Say which teachers labelled TERM, how often, with which code, and who disagreed.

    DIR is the folder that label filled. Case, Unicode forms and blanks do not matter. A teacher
    disagrees where others gave TERM a label that it marks, and it gave none or another.

    \b
    Example:
      clin-edge why "chest pain" silver/
    """
    from clin_edge.distill.merging import why as side
    from clin_edge.distill.merging.silver import said_by

    reasons = side.why(term, said_by(side.read_folder(folder)).values())
    if as_json:
        click.echo(json.dumps(side.as_dict(term, reasons), indent=2, ensure_ascii=False))
    else:
        for line in side.table(term, reasons):
            click.echo(line)


def _spare(read: Sequence[Path], written: Sequence[Path]) -> None:
    """Refuse to write over a file that is read, or twice over one file."""
    taken = {path.resolve() for path in read}
    for path in written:
        if path.resolve() in taken:
            raise InputError(f"{path}: read from or written to already; choose another file")
        taken.add(path.resolve())
