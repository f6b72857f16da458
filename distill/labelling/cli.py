"""``clin-edge label``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from clin_edge.core.errors import QUARANTINED

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


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
    help="openai:MODEL, gemini:MODEL, rxnorm:FOLDER, snomed:FOLDER, terms:FILE.tsv,…, sig or "
    "gold:FILE; may be given several times. A language model may name its server: MODEL@URL.",
)
@click.option("--labels", multiple=True, help="Keep and ask for only these, A,B or one by one.")
@click.option("--id-column", default="id", show_default=True, help="Where ids stand.")
@click.option("--text-column", default="text", show_default=True, help="Where texts stand.")
@click.option("--stop", type=_FILE, help="Names that terminologies leave out, one a line.")
@click.option("--settings", type=_FILE, help="A TOML file: how terminologies are matched.")
@click.option("--base-url", default="", metavar="URL", help="Server of the language models.")
@click.option("--external-ok", is_flag=True, help="Notes may be sent outside this network.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="USD", help="Stop before this.")
@click.option("--max-tokens-total", type=click.IntRange(0), help="Stop before this, in and out.")
@click.option("--prices", type=_FILE, help="A TOML table of prices that goes before ours.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), help="Replies [default: OUT/replies].")
@click.option("--prompt", type=_FILE, help="A TOML file instead of our prompt.")
@click.option("--examples", type=_FILE, help="Labelled notes to show; never those to be labelled.")
@click.option("--n-examples", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--occurrences",
    type=click.Choice(["all", "claimed"]),
    default="all",
    show_default=True,
    help="Mark every place of a quote, or those the model tells apart.",
)
@click.option("--timeout", type=click.FloatRange(1), default=180, show_default=True, help="In s.")
@click.option("--ask-again", is_flag=True, help="Ask anew about notes set aside before.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent and cost; send nothing.")
@click.pass_context
def label(
    ctx: click.Context,
    notes: tuple[str, ...],
    out: Path,
    teachers: tuple[str, ...],
    labels: tuple[str, ...],
    id_column: str,
    text_column: str,
    stop: Path | None,
    settings: Path | None,
    base_url: str,
    external_ok: bool,
    max_cost: float | None,
    max_tokens_total: int | None,
    prices: Path | None,
    concurrency: int,
    cache: Path | None,
    prompt: Path | None,
    examples: Path | None,
    n_examples: int,
    occurrences: Literal["all", "claimed"],
    timeout: float,
    ask_again: bool,
    dry_run: bool,
) -> None:
    """Let teachers label notes; writes OUT/<teacher>.jsonl, one file a teacher.

    Replies of language models are kept in the cache folder, which then holds patient text: run
    again after a stop and only what is missing is asked for; delete the folder when all is done.

    \b
    Example:
      clin-edge label notes.jsonl -o silver --teacher rxnorm:rrf --teacher snomed:Snapshot
      clin-edge label notes.jsonl -o silver --teacher openai:llama3 --base-url http://llm:8000/v1
    """
    from clin_edge.core.notes import NoteFormat
    from clin_edge.distill.labelling.label import label_notes, plan_notes
    from clin_edge.distill.labelling.words import plan_words, tally_words
    from clin_edge.distill.teachers.llm.asking import Asking
    from clin_edge.distill.teachers.llm.teacher import LlmSettings
    from clin_edge.distill.teachers.terminology.settings import load_settings

    fmt = NoteFormat(id_column, text_column)
    wanted = tuple(dict.fromkeys(one.strip() for word in labels for one in word.split(",")))
    asking = Asking(
        labels=wanted or None,
        base_url=base_url,
        external_ok=external_ok,
        max_cost=max_cost,
        max_tokens=max_tokens_total,
        cache=cache or out / "replies",
        prices=prices,
        prompt=prompt,
        examples=examples,
        n_examples=n_examples,
        timeout_s=timeout,
        settings=LlmSettings(occurrences=occurrences, ask_again=ask_again),
    )
    if dry_run:
        for line in plan_words(plan_notes(notes, fmt, teachers, asking)):
            _say(line)
        return
    kept = frozenset(wanted) if wanted else None
    with _Bar() as bar:
        tallies = label_notes(
            notes,
            fmt,
            teachers,
            out,
            kept,
            asking=asking,
            settings=load_settings(settings, stop),
            concurrency=concurrency,
            progress=bar.show,
        )
    for name, tally in tallies.items():
        for line in tally_words(out, name, tally):
            _say(line)
    if any(tally.set_aside for tally in tallies.values()):
        ctx.exit(QUARANTINED)


class _Bar:
    """Notes done, dollars so far and time left, on a terminal only."""

    def __enter__(self) -> _Bar:
        self._bar: Any = None
        self._cost = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def show(self, done: int, n_notes: int, cost: float) -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=n_notes or None,
                label="notes",
                show_pos=True,
                item_show_func=lambda _: f"${self._cost:,.2f}" if self._cost else "",
                file=sys.stderr,
            )
        self._cost = cost
        self._bar.update(done - self._bar.pos, current_item=object())
