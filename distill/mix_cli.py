"""``clin-edge mix``."""

from __future__ import annotations

from pathlib import Path

import click

from clin_edge.core.errors import InputError, MissingInstallError

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("older", type=_FOLDER)
@click.argument("newer", type=_FOLDER)
@click.option("--share", type=click.FloatRange(0, 1), required=True, help="How much of OLDER.")
@click.option(
    "--bias",
    nargs=2,
    type=(str, float),
    multiple=True,
    metavar="LABEL X",
    help="Add X to the logits of a label: below 0, it is found less often, and more surely.",
)
@click.option("-o", "--out", type=_FOLDER, required=True, help="Student folder.")
def mix(
    older: Path, newer: Path, share: float, bias: tuple[tuple[str, float], ...], out: Path
) -> None:
    """Make one student of OLDER and of NEWER, which went on learning from it.

    Its weights are a mean of theirs. What NEWER forgot it knows again in part, at no cost at the
    edge; measure which share, and which bias, is best on a dev set.

    \b
    Example:
      clin-edge mix before after --share 0.5 --bias MEDICATION 0.5 -o student
    """
    try:
        from clin_edge.distill import mix as mixing
    except ModuleNotFoundError as error:
        raise MissingInstallError("train", str(error.name)) from None
    if out.exists():
        raise InputError(f"{out}: exists already; choose another name or delete it")
    mixing.mix(older, newer, share, dict(bias)).save(out)
