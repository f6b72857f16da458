"""``clin-edge demo`` and ``verify``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class BundlePath(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A bundle's folder, or ``fast`` for the smaller bundle in the package; ``./fast`` is a folder.

    A ``Path`` would lose the dot that tells the two apart.
    """

    name = "path"

    def convert(self, value: Any, *_: Any) -> Path:
        """Give the folder."""
        from clin_edge.runtime.pipeline import FAST, FAST_BUNDLE

        return FAST_BUNDLE if value == FAST else Path(value)


bundle_option = click.option(
    "--bundle",
    type=BundlePath(),
    help="A bundle's folder, or fast (default: CLIN_EDGE_BUNDLE, or the one in the package).",
)
bundle_argument = click.argument("bundle", type=BundlePath(), required=False)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 512), help="Default: as many as this process may use."
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What runs the model; auto: of those there are, the faster one on this processor.",
)


def notes_options(command: F) -> F:
    """Add the options that say where in a file notes stand, and how long one may be."""
    for option in (
        click.option(
            "--max-note-chars",
            type=click.IntRange(1),
            default=10_000_000,
            show_default=True,
            help="Refuse longer notes.",
        ),
        click.option("--text-column", default="text", show_default=True, help="Where texts stand."),
        click.option("--id-column", default="id", show_default=True, help="Where ids stand."),
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-records.jsonl"),
    show_default=True,
    help="Where to write the records.",
)
@bundle_option
@threads_option
def demo(out: Path, bundle: Path | None, threads: int | None) -> None:
    """Read the sample notes that come with the package and show what was found.

    The notes are invented. Every offset in the written records is checked against its note.

    \b
    Example:
      clin-edge demo -o demo-records.jsonl
    """
    from clin_edge.runtime.demo import run_demo

    run_demo(out, bundle=bundle, threads=threads, show=click.echo)


@click.command()
@bundle_argument
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PUB",
    help="An Ed25519 public key in PEM: also check who signed the bundle.",
)
@click.option(
    "--signature",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the signature is (default: beside the bundle, BUNDLE.sig).",
)
def verify(bundle: Path | None, key: Path | None, signature: Path | None) -> None:
    """Check every file of a bundle against its manifest, and print the manifest.

    Without BUNDLE, the one that comes with the package.

    \b
    Example:
      clin-edge verify ./bundle --key hospital.pem
    """
    from clin_edge.core.signing import verify_signature
    from clin_edge.runtime.pipeline import open_default_or

    if signature is not None and key is None:
        raise click.UsageError("--signature needs --key, by which it is checked")
    opened = open_default_or(bundle)
    if key is not None:
        verify_signature(opened, key, signature)
    click.echo(opened.manifest.to_json(), nl=False)
    n_files, size = len(opened.files), sum(map(len, opened.files.values()))
    click.echo(f"{opened.path}: {n_files} files, {size / 1e6:.1f} MB, all as listed", err=True)
    click.echo(f"bundle {opened.id}", err=True)
    if key is not None:
        click.echo(f"signed by the owner of {key}", err=True)
