"""``clin-edge label`` and ``clin-edge distill``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from clin_edge.core.errors import InputError, MissingInstallError


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("notes", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to fill.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="rxnorm:FOLDER, snomed:FOLDER or terms:FILE.tsv; may be given several times.",
)
@click.option("--labels", multiple=True, help="Keep only these labels.")
@click.option("--id-column", default="id", show_default=True, help="Where ids stand.")
@click.option("--text-column", default="text", show_default=True, help="Where texts stand.")
def label(
    notes: tuple[str, ...],
    out: Path,
    teachers: tuple[str, ...],
    labels: tuple[str, ...],
    id_column: str,
    text_column: str,
) -> None:
    """Let teachers label notes; writes OUT/<teacher>.jsonl, one file a teacher.

    \b
    Example:
      clin-edge label notes.jsonl -o silver --teacher rxnorm:rrf --teacher snomed:Snapshot
    """
    from clin_edge.core.notes import NoteFormat
    from clin_edge.distill.label import label_notes

    fmt = NoteFormat(id_column, text_column)
    counts = label_notes(notes, fmt, teachers, out, frozenset(labels) if labels else None)
    for teacher, by_label in counts.items():
        found = ", ".join(f"{n:,} {name}" for name, n in sorted(by_label.items())) or "nothing"
        _say(f"{out / teacher}.jsonl: {found}")


@click.command()
@click.argument("silver", nargs=-1, type=click.Path(path_type=Path))
@click.option("--student", "encoder", required=True, metavar="MODEL", help="A folder or a hub id.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Student folder.")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A TOML file; the sets it names are learnt beside SILVER.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the recipe's paths begin (default: the recipe's own folder).",
)
@click.option("--dev", "dev_files", multiple=True, type=click.Path(path_type=Path), metavar="GOLD")
@click.option("--map", "pairs", multiple=True, metavar="FROM=TO", help="Rename labels on reading.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Likewise.")
@click.option("--seed", type=click.IntRange(0), help="Likewise.")
def distill(
    silver: tuple[Path, ...],
    encoder: str,
    out: Path,
    recipe_file: Path | None,
    data: Path | None,
    dev_files: tuple[Path, ...],
    pairs: tuple[str, ...],
    epochs: int | None,
    learning_rate: float | None,
    seed: int | None,
) -> None:
    """Train a student from labelled notes; a killed run goes on when started again.

    \b
    Example:
      clin-edge distill silver/*.jsonl --student ./biobert -o student --dev dev.jsonl
    """
    from clin_edge.core.labelled import parse_map, read_labelled
    from clin_edge.distill.config import (
        Recipe,
        SetSpec,
        check_distinct,
        labels_of,
        load_recipe,
    )
    from clin_edge.distill.dataset import join_sources

    recipe = load_recipe(recipe_file) if recipe_file else None
    root = data or (recipe_file.parent if recipe_file else Path())
    renames = parse_map(pairs)
    sources = [spec.read(root) for spec in recipe.sets] if recipe else []
    sources += [read_labelled(path, renames) for path in silver]
    if not sources:
        raise InputError("nothing to learn from: name labelled notes, or a recipe with [[sets]]")
    items = join_sources(sources)
    if recipe is None:
        labels = labels_of(items)
        if not labels:
            raise InputError("the labelled notes mark no label at all; there is nothing to learn")
        recipe = Recipe(labels)
    dev_specs = (
        *recipe.dev,
        *(SetSpec(str(path.resolve()), path.stem, renames) for path in dev_files),
    )
    check_distinct("dev", [spec.title for spec in dev_specs])
    dev = {spec.title: spec.read(root) for spec in dev_specs}
    learnt = (*recipe.sets, *(SetSpec(str(path), path.name, renames) for path in silver))
    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    recipe = dataclasses.replace(
        recipe,
        sets=learnt,
        train=dataclasses.replace(recipe.train, **changes),  # type: ignore[arg-type]
    )
    try:
        from clin_edge.distill.train import train
    except ModuleNotFoundError as error:
        raise MissingInstallError("train", str(error.name)) from None
    train(recipe, items, dev, encoder, out, say=_say)
