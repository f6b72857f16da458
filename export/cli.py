"""``clin-edge export`` and ``clin-edge evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from clin_edge.core.errors import MissingInstallError

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("student", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="The bundle's folder.")
@click.option("--int8/--fp32", "int8", default=True, help="Precision [int8].")
@click.option(
    "--backend",
    type=click.Choice(["openvino"]),
    default="openvino",
    show_default=True,
    expose_value=False,
    help="Whose model format.",
)
@click.option(
    "--calibrate",
    multiple=True,
    metavar="NOTES",
    help="Notes like yours; they set the INT8 ranges (default: the package's sample notes).",
)
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its [[tests]] are scored, float beside the bundle, and its [card] is used.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the recipe's paths begin (default: the recipe's own folder).",
)
@click.option("--name", help="The bundle's name (default: the recipe's, or the student folder's).")
def export(
    student: Path,
    out: Path,
    int8: bool,
    calibrate: tuple[str, ...],
    recipe_file: Path | None,
    data: Path | None,
    name: str | None,
) -> None:
    """Make a bundle of a student: quantise, open it with the runtime, compare, score, describe.

    \b
    Example:
      clin-edge export student -o bundle --int8 --calibrate notes/
    """
    from dataclasses import replace

    from clin_edge.core.notes import read_notes
    from clin_edge.distill.config import Card, load_recipe
    from clin_edge.runtime.demo import SAMPLES

    try:
        from clin_edge.distill.student import load_student
        from clin_edge.export.pack import pack
    except ModuleNotFoundError as error:
        raise MissingInstallError("export", str(error.name)) from None
    recipe = load_recipe(recipe_file) if recipe_file else None
    root = data or (recipe_file.parent if recipe_file else Path())
    card = recipe.card if recipe else Card(name=student.resolve().name)
    card = replace(card, name=name) if name else card
    samples = list(read_notes([str(SAMPLES)]))
    bundle = pack(
        load_student(student),
        out,
        precision="int8" if int8 else "fp32",
        calibration=list(read_notes(calibrate)) if calibrate else samples,
        golden=samples,
        tests={spec.title: spec.read(root) for spec in recipe.tests} if recipe else {},
        card=card,
        say=lambda line: click.echo(line, err=True),
    )
    size_mb = sum(map(len, bundle.files.values())) / 1e6
    click.echo(f"{out}: {bundle.id}, {size_mb:.1f} MB", err=True)


@click.command()
@click.argument("what", type=click.Path(path_type=Path, exists=True))
@click.argument("gold", type=click.Path(path_type=Path, exists=True))
@click.option("--map", "pairs", multiple=True, metavar="FROM=TO", help="Rename the gold's labels.")
@click.option(
    "--vs",
    "other",
    type=click.Path(path_type=Path, exists=True),
    metavar="OTHER",
    help="Another bundle, student folder or records: say which is better, and how surely.",
)
@click.option(
    "--like",
    multiple=True,
    type=click.Choice(["belkadi2023"]),
    help="Show that paper's scores of word pieces beside (WHAT: a bundle or a student).",
)
@click.option(
    "--errors",
    "errors_file",
    type=PATH,
    metavar="FILE",
    help="Write the confused labels and the most frequent missed and invented words to FILE, as "
    "JSONL. It holds text of the notes; only you may read it (mode 0600).",
)
@click.option("--json", "as_json", is_flag=True, help="Write the scores as JSON.")
def evaluate(
    what: Path,
    gold: Path,
    pairs: tuple[str, ...],
    other: Path | None,
    like: tuple[str, ...],
    errors_file: Path | None,
    as_json: bool,
) -> None:
    """Score WHAT (a bundle, a student folder, or records) against the labelled notes GOLD.

    Strict, lenient and partial matches; by label, micro, macro, weighted by gold, and macro by
    document; F1 with its 95 % interval, by bootstrap over the notes.

    \b
    Example:
      clin-edge evaluate bundle gold.jsonl --map "DISEASE=DISEASE|SYMPTOM" --vs old-bundle
    """
    from clin_edge.core.labelled import parse_map, read_labelled
    from clin_edge.export import evaluate as side

    if errors_file is not None:
        side.check_errors_file(errors_file, [what, gold, *([other] if other else [])])
    items = read_labelled(gold, parse_map(pairs))
    report = side.report(what, items, other=other, like=like, with_errors=errors_file is not None)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    if errors_file is not None and report.errors is not None:
        side.write_errors(errors_file, report.errors)
        click.echo(f"{errors_file}: holds text of the notes; keep it where they are", err=True)
