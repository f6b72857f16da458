"""``clin-edge extract``."""

from __future__ import annotations

from pathlib import Path

import click

from clin_edge.core.errors import QUARANTINED, ClinEdgeError
from clin_edge.runtime.cli import bundle_option, engine_option, notes_options, threads_option
from clin_edge.runtime.spawning import spawned


def _number(_: click.Context, __: click.Parameter, value: float) -> float:
    """Refuse NaN, which no range refuses."""
    if value != value:
        raise click.BadParameter("expected a number")
    return value


@click.command()
@click.argument("notes", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    callback=lambda _, __, out: None if out == Path("-") else out,
    help="A file, or a folder for brat [stdout].",
)
@bundle_option
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["jsonl", "csv", "parquet", "brat", "html", "omop"]),
    default="jsonl",
    show_default=True,
    help="What to write.",
)
@click.option("--resume", is_flag=True, help="Go on where a run of this command was stopped.")
@click.option(
    "--quarantine",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Set notes that cannot be read aside, with id and reason, instead of stopping.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 512),
    envvar="CLIN_EDGE_WORKERS",
    help="Processes that read notes at once, at most [one for two threads]; 0: in this one, which "
    "no limit guards.",
)
@threads_option
@click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    help="Batch size [512, or 1024 for a small model such as fast].",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.0,
    callback=_number,
    help="Leave out entities below.",
)
@click.option(
    "--context/--no-context",
    default=True,
    show_default=True,
    help="Say of each entity if it is present, negated, possible, historical, ...",
)
@click.option(
    "--reuse/--no-reuse",
    default=True,
    show_default=True,
    help="Read a passage that notes repeat once; the answers are the same.",
)
@click.option("--no-text", is_flag=True, help="Write offsets and labels only, no words of notes.")
@engine_option
@notes_options
@click.option(
    "--note-timeout",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    callback=_number,
    metavar="SECONDS",
    help="Set a note aside that takes longer, for each 100,000 characters of it.",
)
@click.option(
    "--max-memory",
    type=click.IntRange(1),
    default=4000,
    show_default=True,
    metavar="MB",
    help="Set a note aside for which a worker would need more.",
)
@click.option("--progress/--no-progress", default=None, help="Default: if stderr is a terminal.")
@click.option("--log-json", is_flag=True, help="Say all on stderr as JSON lines.")
def extract(
    notes: tuple[str, ...],
    out: Path | None,
    bundle: Path | None,
    fmt: str,
    resume: bool,
    quarantine: Path | None,
    workers: int | None,
    threads: int | None,
    batch_tokens: int | None,
    min_score: float,
    context: bool,
    reuse: bool,
    no_text: bool,
    engine: str,
    id_column: str,
    text_column: str,
    max_note_chars: int,
    note_timeout: float,
    max_memory: int,
    progress: bool | None,
    log_json: bool,
) -> int:
    """Find entities in NOTES and write a record for each note.

    NOTES: folders of .txt files, .txt, .jsonl, .jsonl.gz, .csv, .tsv, .parquet files, or - for
    JSONL on stdin. Everything is read once before the work begins, so that a bad note is known at
    once: without --quarantine it stops the command (exit 3). A note over which a worker process
    dies, or takes too much time or memory, is set aside in any case: its id and the reason are
    written to the quarantine file (default: OUT.quarantine.jsonl), all others are in the output,
    and the exit code is 8.

    \b
    Example:
      clin-edge extract notes/ -o found.jsonl --resume
    """
    # The first worker imports what it needs while this process does the same.
    first = None if workers == 0 else click.get_current_context().with_resource(spawned())

    from clin_edge.core.notes import NoteFormat
    from clin_edge.runtime.extract import Extraction
    from clin_edge.runtime.extract import extract as run
    from clin_edge.runtime.notes_parquet import READERS
    from clin_edge.runtime.progress import Progress

    job = Extraction(
        places=notes,
        out=out,
        bundle=bundle,
        note_format=NoteFormat(id_column, text_column, max_note_chars, READERS),
        fmt=fmt,
        with_text=not no_text,
        min_score=min_score,
        context=context,
        reuse=reuse,
        engine=engine,
        batch_tokens=batch_tokens,
        workers=workers,
        threads=threads,
        resume=resume,
        quarantine=quarantine,
        note_timeout_s=note_timeout,
        memory_mb=max_memory,
    )
    shown = Progress(live=progress, as_json=log_json)
    try:
        tally = run(job, tell=shown.tell, first=first)
    except ClinEdgeError as error:
        if not log_json:
            raise
        shown.fail(str(error), error.exit_code)
        return error.exit_code
    shown.end(tally)
    return QUARANTINED if tally.aside else 0
