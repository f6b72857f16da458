"""``clin-edge extract``, ``demo`` and ``verify``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clin_edge.core.errors import InputError

if TYPE_CHECKING:
    from clin_edge.core.records import Record

bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="A bundle's folder (default: CLIN_EDGE_BUNDLE, or the one in the package).",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 512), help="Default: as many as this process may use."
)


def _number(_: click.Context, __: click.Parameter, value: float) -> float:
    """Refuse NaN, which no range refuses."""
    if value != value:
        raise click.BadParameter("expected a number from 0 to 1")
    return value


@click.command()
@click.argument("notes", nargs=-1, required=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="A file, or a folder for brat [stdout]."
)
@bundle_option
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["jsonl", "csv", "brat"]),
    default="jsonl",
    show_default=True,
    help="What to write.",
)
@threads_option
@click.option(
    "--batch-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Batch size."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.0,
    callback=_number,
    help="Leave out entities below.",
)
@click.option("--no-text", is_flag=True, help="Write offsets and labels only, no words of notes.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What runs the model.",
)
@click.option("--id-column", default="id", show_default=True, help="Where ids stand.")
@click.option("--text-column", default="text", show_default=True, help="Where texts stand.")
@click.option(
    "--max-note-chars",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Refuse longer notes.",
)
@click.option("--progress/--no-progress", default=None, help="Default: if stderr is a terminal.")
def extract(
    notes: tuple[str, ...],
    out: Path | None,
    bundle: Path | None,
    fmt: str,
    threads: int | None,
    batch_tokens: int,
    min_score: float,
    no_text: bool,
    engine: str,
    id_column: str,
    text_column: str,
    max_note_chars: int,
    progress: bool | None,
) -> None:
    """Find entities in NOTES and write a record for each note.

    NOTES: folders of .txt files, .txt, .jsonl, .jsonl.gz, .csv, .tsv files, or - for JSONL on
    stdin. Everything is read once before the work begins, so that a bad note is known at once.

    \b
    Example:
      clin-edge extract notes/ -o found.jsonl
    """
    from clin_edge.core.notes import NoteFormat, check_notes, read_notes
    from clin_edge.runtime.pipeline import Pipeline
    from clin_edge.runtime.writers import open_writer

    if out is not None:
        _check_apart(out, notes)
    writer = open_writer(fmt, out, with_text=not no_text)
    note_format = NoteFormat(id_column, text_column, max_note_chars)
    total = check_notes(notes, note_format)
    pipeline = Pipeline.from_bundle(
        bundle, engine=engine, threads=threads, batch_tokens=batch_tokens
    )
    shown = sys.stderr.isatty() if progress is None else progress
    records = pipeline.records(read_notes(notes, note_format), min_score=min_score)
    with writer:
        for record in _counted(records, total=0 if "-" in notes else total, live=shown):
            writer.write(record)


def _check_apart(out: Path, notes: Iterable[str]) -> None:
    """Refuse an output, finished or not, that is one of the inputs, or holds or lies in one."""
    from clin_edge.runtime.writers.partial import partial_name

    for made in (out.resolve(), partial_name(out).resolve()):
        for place in notes:
            read = Path(place).resolve()
            if place != "-" and (read == made or made in read.parents):
                raise InputError(f"{place}: would be overwritten by the output; choose another -o")


def _counted(records: Iterable[Record], *, total: int, live: bool) -> Iterator[Record]:
    """Pass records on, and say on stderr how far the work is; in the end, what it came to."""
    started = said = time.monotonic()
    n_notes = n_words = n_entities = 0
    for record in records:
        n_notes += 1
        n_words += len(record.note.text.split())
        n_entities += len(record.entities)
        yield record
        now = time.monotonic()
        if live and now - said > 1:
            said = now
            of = f" of {total:,}" if total else ""
            left = (
                f", {(now - started) / n_notes * (total - n_notes) / 60:.0f} min left"
                if total
                else ""
            )
            click.echo(
                f"\r{n_notes:,}{of} notes, {n_words / (now - started):,.0f} words/s{left}   ",
                err=True,
                nl=False,
            )
    took = time.monotonic() - started
    click.echo(
        f"{chr(13) if live else ''}{n_notes:,} notes, {n_words:,} words, {n_entities:,} entities "
        f"in {took:.1f} s ({n_words / max(took, 1e-9):,.0f} words/s); every character was read",
        err=True,
    )


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
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
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
