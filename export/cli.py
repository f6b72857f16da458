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
@click.option("--json", "as_json", is_flag=True, help="Write the scores as JSON.")
def evaluate(what: Path, gold: Path, pairs: tuple[str, ...], as_json: bool) -> None:
    """Score WHAT (a bundle, a student folder, or records) against the labelled notes GOLD.

    \b
    Example:
      clin-edge evaluate bundle gold.jsonl --map "DISEASE=DISEASE|SYMPTOM"
    """
    from clin_edge.core.labelled import parse_map, read_labelled
    from clin_edge.export import evaluate as side

    scores = side.evaluate(what, read_labelled(gold, parse_map(pairs)))
    if as_json:
        click.echo(json.dumps({match: s.as_dict() for match, s in scores.items()}, indent=2))
    else:
        for line in side.table(scores):
            click.echo(line)
