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
    type=click.Choice(["openvino", "onnx", "both"]),
    default="openvino",
    show_default=True,
    help="Whose model format; onnx is for onnxruntime.",
)
@click.option(
    "--calibrate",
    multiple=True,
    metavar="NOTES",
    help="Notes like yours: they set the INT8 ranges, and on the first 200 of them spans are "
    "compared with the float model's (default: the package's sample notes).",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="GOLD",
    help="Labelled notes that decide whether INT8 is good enough (default: the recipe's dev sets).",
)
@click.option("--map", "pairs", multiple=True, metavar="FROM=TO", help="Rename the gate's labels.")
@click.option(
    "--max-f1-drop",
    type=click.FloatRange(0, 1),
    default=0.005,
    show_default=True,
    help="What INT8 may cost in strict F1 on the gate.",
)
@click.option(
    "--max-label-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Likewise on any label with at least 100 gold entities.",
)
@click.option(
    "--float-layers",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Keep the N layers that INT8 hurts most in float; each is measured. Slower, nearer.",
)
@click.option(
    "--preset",
    type=click.Choice(["mixed", "performance"]),
    default="mixed",
    show_default=True,
    help="Of NNCF: performance makes activations symmetric, a little faster.",
)
@click.option("--force", is_flag=True, help="Write the bundle though a gate says no; it is marked.")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its [[dev]] sets are the gate, its [[tests]] are scored, and its [card] is used.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the recipe's paths begin (default: the recipe's own folder).",
)
@click.option("--name", help="The bundle's name (default: the recipe's, or the student folder's).")
@click.option(
    "--sign",
    "key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="KEY",
    help="An Ed25519 private key in PEM: the signature is written beside the bundle.",
)
def export(
    student: Path,
    out: Path,
    int8: bool,
    backend: str,
    calibrate: tuple[str, ...],
    gates: tuple[Path, ...],
    pairs: tuple[str, ...],
    max_f1_drop: float,
    max_label_drop: float,
    float_layers: int,
    preset: str,
    force: bool,
    recipe_file: Path | None,
    data: Path | None,
    name: str | None,
    key: Path | None,
) -> None:
    """Make a bundle of a student: quantise, open it with the runtime, judge, score, describe.

    Nothing is written (exit 7) if the bundle loses too much on labelled notes, if its float model
    finds other spans than torch, or if its answers depend on what else is in a batch. Without
    labelled notes, its spans must agree with the float model's on 200 notes.

    \b
    Example:
      clin-edge export student -o bundle --int8 --calibrate notes/ --gate gold.jsonl
    """
    from dataclasses import replace

    from clin_edge.core.labelled import parse_map, read_labelled
    from clin_edge.core.notes import read_notes
    from clin_edge.core.signing import check_private_key, write_signature
    from clin_edge.distill.config import Card, load_recipe
    from clin_edge.runtime.demo import SAMPLES

    try:
        from clin_edge.distill.student import load_student
        from clin_edge.export.gate import MIN_NOTES, Limits
        from clin_edge.export.openvino import Int8Settings
        from clin_edge.export.pack import Order, choose_float_layers, pack
    except ModuleNotFoundError as error:
        raise MissingInstallError("export", str(error.name)) from None
    if key is not None:
        check_private_key(key)  # before the minutes of work, not after
    recipe = load_recipe(recipe_file) if recipe_file else None
    root = data or (recipe_file.parent if recipe_file else Path())
    card = recipe.card if recipe else Card(name=student.resolve().name)
    card = replace(card, name=name) if name else card
    samples = list(read_notes([str(SAMPLES)]))
    notes = list(read_notes(calibrate)) if calibrate else samples
    renamed = parse_map(pairs)
    # Named by folder and file: the manifest must not tell where they lie on this machine.
    gold = {
        f"{path.resolve().parent.name}/{path.name}": read_labelled(path, renamed) for path in gates
    }
    if recipe and not gold:
        gold = {spec.title: spec.read(root) for spec in recipe.dev}
    order = Order(
        precision="int8" if int8 else "fp32",
        backend=backend,
        calibration=notes,
        compared=notes[:MIN_NOTES],
        golden=samples,
        gold=gold,
        tests={spec.title: spec.read(root) for spec in recipe.tests} if recipe else {},
        card=card,
        int8=Int8Settings(preset=preset),
        limits=Limits(max_f1_drop, max_label_drop),
        force=force,
    )

    def say(line: str) -> None:
        click.echo(line, err=True)

    loaded = load_student(student)
    if int8 and float_layers:
        chosen = choose_float_layers(loaded, order, float_layers, say=say)
        order = replace(order, int8=replace(order.int8, float_layers=chosen))
    bundle = pack(loaded, out, order, say=say)
    size_mb = sum(map(len, bundle.files.values())) / 1e6
    click.echo(f"{out}: {bundle.id}, {size_mb:.1f} MB, {bundle.manifest.gate['verdict']}", err=True)
    if key is not None:
        click.echo(f"{write_signature(bundle, key)}: its signature", err=True)


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
