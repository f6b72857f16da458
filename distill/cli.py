"""``clin-edge distill``."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clin_edge.core.errors import InputError, MissingInstallError

if TYPE_CHECKING:
    from clin_edge.distill.config import Recipe
    from clin_edge.distill.soft import SoftTeacher
    from clin_edge.distill.train import Status

_PATH = click.Path(path_type=Path)
SAY_EVERY_S = 15.0


@click.command()
@click.argument("silver", nargs=-1, type=_PATH)
@click.option("--student", "encoder", metavar="MODEL", help="A folder, a hub id, or scratch.")
@click.option("-o", "--out", type=_PATH, required=True, help="Student folder.")
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
@click.option("--dev", "dev_files", multiple=True, type=_PATH, metavar="GOLD")
@click.option("--map", "pairs", multiple=True, metavar="FROM=TO", help="Rename labels on reading.")
@click.option("--head", type=click.Choice(["linear", "crf"]), help="Instead of the recipe's.")
@click.option("--epochs", type=click.IntRange(1), help="Likewise.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Likewise.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs no better.")
@click.option("--keep-empty", type=click.FloatRange(0, 1), metavar="P", help="SamBD; P was 0.08.")
@click.option("--keep-layers", metavar="0,2,4", help="Only these layers of the encoder.")
@click.option(
    "--soft-from",
    multiple=True,
    type=_PATH,
    metavar="FOLDER",
    help="A student or a bundle to follow; may be several.",
)
@click.option("--unlabelled", multiple=True, metavar="NOTES", help="To follow it on as well.")
@click.option("--prune-to", multiple=True, metavar="NOTES", help="Keep pieces used here or learnt.")
@click.option(
    "--bfloat16", is_flag=True, default=False, help="Thrice as fast on CPUs that have it."
)
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="May be several.")
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Learn from a share of the notes; may be several.",
)
@click.pass_obj
def distill(
    open_bundle: Callable[[Path], SoftTeacher] | None,
    silver: tuple[Path, ...],
    encoder: str | None,
    out: Path,
    recipe_file: Path | None,
    data: Path | None,
    dev_files: tuple[Path, ...],
    pairs: tuple[str, ...],
    head: str | None,
    epochs: int | None,
    learning_rate: float | None,
    patience: int | None,
    keep_empty: float | None,
    keep_layers: str | None,
    soft_from: tuple[Path, ...],
    unlabelled: tuple[str, ...],
    prune_to: tuple[str, ...],
    bfloat16: bool,
    seeds: tuple[int, ...],
    shares: tuple[float, ...],
) -> None:
    """Train a student from labelled notes; a killed run goes on when started again.

    Several seeds or shares make several students, in folders below OUT.

    \b
    Example:
      clin-edge distill silver/*.jsonl --student ./biobert -o student --dev dev.jsonl
      clin-edge distill --recipe crf.toml --student scratch -o runs --seed 1 --seed 2 --seed 3
    """
    from clin_edge.core.labelled import parse_map, read_labelled
    from clin_edge.core.notes import read_notes
    from clin_edge.distill.config import (
        Recipe,
        SetSpec,
        check_distinct,
        labels_of,
        load_recipe,
    )
    from clin_edge.distill.material import gather

    recipe = load_recipe(recipe_file) if recipe_file else None
    root = data or (recipe_file.parent if recipe_file else Path())
    renames = parse_map(pairs)
    sources = [read_labelled(path, renames) for path in silver]
    if not sources and not (recipe and (recipe.sets or recipe.invented)):
        raise InputError("nothing to learn from: name labelled notes, or a recipe with [[sets]]")
    if recipe is None:
        labels = labels_of(item for items in sources for item in items)
        if not labels:
            raise InputError("the labelled notes mark no label at all; there is nothing to learn")
        recipe = Recipe(labels)
    encoder = encoder or recipe.encoder
    if not encoder:
        raise click.UsageError("Missing option '--student': a folder, a hub id, or scratch.")
    if unlabelled and not soft_from:
        raise click.UsageError("--unlabelled notes teach nothing without --soft-from.")
    dev_specs = (
        *recipe.dev,
        *(SetSpec(str(path.resolve()), path.stem, renames) for path in dev_files),
    )
    items, vary = gather(recipe, root, sources)
    check_distinct("dev", [spec.title for spec in dev_specs])
    dev = {spec.title: spec.read(root) for spec in dev_specs}
    learnt = (*recipe.sets, *(SetSpec(str(path), path.name, renames) for path in silver))
    recipe = _change(
        dataclasses.replace(recipe, sets=learnt, encoder=encoder),
        head=head,
        keep_layers=keep_layers,
        epochs=epochs,
        learning_rate=learning_rate,
        patience=patience,
        keep_empty=keep_empty,
        bfloat16=bfloat16 or None,
        seed=seeds[0] if len(seeds) == 1 else None,
        share=shares[0] if len(shares) == 1 else None,
    )
    try:
        from clin_edge.distill.runs import train_runs
        from clin_edge.distill.train import train
    except ModuleNotFoundError as error:
        raise MissingInstallError("train", str(error.name)) from None

    def train_one(one: Recipe, folder: Path) -> None:
        with _Bar() as bar:
            train(
                one,
                items,
                dev,
                encoder,
                folder,
                soft_from=soft_from,
                unlabelled=list(read_notes(unlabelled)) if unlabelled else (),
                prune_to=list(read_notes(prune_to)) if prune_to else None,
                vary=vary,
                named=[read_labelled(root / path) for path in recipe.soft.named],
                marked=[read_labelled(root / path) for path in recipe.soft.marked],
                open_bundle=open_bundle,
                say=bar.say,
                watch=bar.show,
            )

    if len(seeds) > 1 or len(shares) > 1:
        every = seeds or (recipe.train.seed,)
        train_runs(recipe, out, train_one, seeds=every, shares=shares, say=_Bar().say)
    else:
        train_one(recipe, out)


def _change(
    recipe: Recipe, *, head: str | None, keep_layers: str | None, **train: float | None
) -> Recipe:
    """Let what was typed go before what the recipe says."""
    from clin_edge.distill.config import HeadSettings

    if head is not None and head != recipe.head.kind:
        recipe = dataclasses.replace(recipe, head=HeadSettings(head))
    if keep_layers is not None:
        try:
            layers = tuple(int(word) for word in keep_layers.split(","))
        except ValueError:
            raise click.UsageError("--keep-layers: expected numbers, such as 0,2,4.") from None
        recipe = dataclasses.replace(recipe, keep_layers=layers)
    changes: dict[str, Any] = {name: value for name, value in train.items() if value is not None}
    try:
        return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))
    except ValueError as error:
        raise InputError(str(error)) from None


class _Bar:
    """Loss, dev F1 and time left: a bar on a terminal, elsewhere a line now and then."""

    def __enter__(self) -> _Bar:
        self._bar: Any = None
        self._said = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def say(self, line: str) -> None:
        # On a terminal the bar stands on this line; it comes back with the next step.
        click.echo(("\r\x1b[K" if sys.stderr.isatty() else "") + line, err=True)

    def show(self, status: Status) -> None:
        words = f"loss {status.loss:.4f}"
        if status.dev_f1 is not None:
            words += f", dev F1 {status.dev_f1:.4f}"
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = click.progressbar(
                    length=status.n_steps,
                    label="steps",
                    show_pos=True,
                    show_eta=False,
                    item_show_func=lambda shown: shown,
                    file=sys.stderr,
                )
            left = f", about {_minutes(status.seconds_left)} min left"
            self._bar.update(status.step - self._bar.pos, current_item=words + left)
        elif time.monotonic() - self._said > SAY_EVERY_S:
            self._said = time.monotonic()
            self.say(
                f"epoch {status.epoch}/{status.n_epochs}, step {status.step}/{status.n_steps}, "
                f"{words}, about {_minutes(status.seconds_left)} min left"
            )


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)
