"""``clin-edge unpack``."""

from __future__ import annotations

from pathlib import Path

import click

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.runtime.cli import bundle_argument


@click.command()
@bundle_argument
@click.option(
    "--encoder",
    required=True,
    metavar="MODEL",
    help="Folder or hub id of an encoder of its shape, such as the one it began with.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Student folder.")
def unpack(bundle: Path | None, encoder: str, out: Path) -> None:
    """Make a student again of BUNDLE, to let it learn from notes of yours, or teach a smaller one.

    Without BUNDLE, of the one that comes with the package. Weights that are in 8 bits there are a
    little off: train it, or at least measure it.

    \b
    Example:
      clin-edge unpack ./bundle --encoder ./minilm -o student
    """
    from clin_edge.runtime.pipeline import open_default_or

    try:
        from clin_edge.export import unpack as unpacking
    except ModuleNotFoundError as error:
        raise MissingInstallError("export", str(error.name)) from None
    if out.exists():
        raise InputError(f"{out}: exists already; choose another name or delete it")
    unpacking.unpack(open_default_or(bundle), encoder).save(out)
