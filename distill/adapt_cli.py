"""``clin-edge adapt``."""

from __future__ import annotations

from pathlib import Path

import click

from clin_edge.core.errors import MissingInstallError


@click.command()
@click.argument("encoder")
@click.argument("notes", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True
)
@click.option(
    "--mask",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.15,
    show_default=True,
    help="Share of pieces to guess.",
)
@click.option(
    "--whole-words/--pieces",
    default=True,
    show_default=True,
    help="Hide all pieces of a word, or each for itself.",
)
@click.option(
    "--words",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Give up to so many words that NOTES use often a piece of their own.",
)
@click.option("--max-tokens", type=click.IntRange(8), default=256, show_default=True)
@click.option("--batch-tokens", type=click.IntRange(1), default=4096, show_default=True)
@click.option(
    "--bfloat16", is_flag=True, default=False, help="Thrice as fast on CPUs that have it."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--id-column", default="id", show_default=True, help="Where ids stand.")
@click.option("--text-column", default="text", show_default=True, help="Where texts stand.")
def adapt(
    encoder: str,
    notes: tuple[str, ...],
    out: Path,
    epochs: int,
    learning_rate: float,
    mask: float,
    whole_words: bool,
    words: int,
    max_tokens: int,
    batch_tokens: int,
    bfloat16: bool,
    seed: int,
    id_column: str,
    text_column: str,
) -> None:
    """Let ENCODER, a folder or a hub id, learn the language of unlabelled NOTES.

    It guesses hidden words. About one note in fifty is held out and shows whether it gets better.
    OUT is for `distill --student`; it holds no text, but weights that have learnt from it. A killed
    run goes on when started again.

    \b
    Example:
      clin-edge adapt ./biobert notes.jsonl -o biobert-here
    """
    from clin_edge.core.notes import NoteFormat, read_notes

    try:
        from clin_edge.distill.adapt import AdaptSettings
        from clin_edge.distill.adapt import adapt as adapt_encoder
    except ModuleNotFoundError as error:
        raise MissingInstallError("train", str(error.name)) from None
    settings = AdaptSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        mask=mask,
        whole_words=whole_words,
        words=words,
        max_tokens=max_tokens,
        batch_tokens=batch_tokens,
        bfloat16=bfloat16,
        seed=seed,
    )
    adapt_encoder(
        encoder,
        read_notes(notes, NoteFormat(id_column, text_column)),
        out,
        settings,
        say=lambda line: click.echo(line, err=True),
    )
