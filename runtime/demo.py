"""The demonstration: the sample notes through the default bundle, shown in colour."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from clin_edge.core.errors import ClinEdgeError
from clin_edge.core.notes import read_notes
from clin_edge.core.records import Record
from clin_edge.runtime.durable import DurableOutput
from clin_edge.runtime.outputs import Done
from clin_edge.runtime.pipeline import Pipeline
from clin_edge.runtime.writers.lines import jsonl_line

SAMPLES = Path(__file__).parent / "samples"
_COLOURS = ("cyan", "red", "yellow", "green", "magenta", "blue")


def run_demo(
    out: Path, *, bundle: Path | None, threads: int | None, show: Callable[[str], None]
) -> None:
    """Read the samples, write their records to ``out``, and show what was found.

    Raises:
        ClinEdgeError: If a written offset does not give the words it should.
    """
    notes = list(read_notes([str(SAMPLES)]))
    pipeline = Pipeline.from_bundle(bundle, threads=threads)
    started = time.perf_counter()
    records = list(pipeline.records(notes, context=True))
    took = time.perf_counter() - started
    _write(records, out)
    n_checked = check_offsets(out, {note.id: note.text for note in notes})

    labels = pipeline.bundle.manifest.scheme.types
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
    show(highlighted(min(records, key=lambda r: len(r.note.text)), colours))
    for record in records:
        show("")
        for line in listing(record, colours):
            show(line)
    show("")
    for line in summary(records, labels, colours):
        show(line)
    n_words = sum(len(note.text.split()) for note in notes)
    show("")
    show(
        f"{len(notes)} notes, {n_words:,} words in {took:.2f} s: {n_words / took:,.0f} words a "
        f"second with {pipeline.bundle.manifest.name} ({pipeline.bundle.id})"
    )
    show(f"{n_checked} entities written to {out}; every offset was checked against its note")


def _write(records: Sequence[Record], out: Path) -> None:
    lines = "".join(jsonl_line(record, with_text=True) for record in records)
    with DurableOutput(out, {}, resume=False) as output:
        output.add(Done(lines.encode(), len(records)))
        output.finish()


def check_offsets(records_file: Path, texts: dict[str, str]) -> int:
    """Read records back and compare each entity's words with its place; count the entities.

    Raises:
        ClinEdgeError: With the note's id, at the first that differs.
    """
    count = 0
    for line in records_file.read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        for entity in record["entities"]:
            if texts[record["id"]][entity["start"] : entity["end"]] != entity["text"]:
                raise ClinEdgeError(f"note {record['id']!r}: an offset does not give its words")
            count += 1
    return count


def highlighted(record: Record, colours: dict[str, str]) -> str:
    """Give the whole note with what was found in colour, and the colours' meaning."""
    pieces, at = [], 0
    for entity in record.entities:
        span = entity.span
        pieces.append(record.note.text[at : span.start])
        pieces.append(click.style(record.quote(entity), fg=colours[entity.label], bold=True))
        at = span.end
    pieces.append(record.note.text[at:].rstrip())
    legend = "  ".join(click.style(label, fg=colour) for label, colour in colours.items())
    return f"{click.style(record.note.id, bold=True)}   {legend}\n\n{''.join(pieces)}"


def listing(record: Record, colours: dict[str, str]) -> list[str]:
    """Give lines that list a note's entities by label, each with its place in the note."""
    n_words = len(record.note.text.split())
    coverage = record.coverage
    head = click.style(record.note.id, bold=True)
    facts = (
        f"{n_words:,} words, {coverage.windows} windows, {coverage.read:,} of {coverage.chars:,}"
    )
    lines = [f"{head}  {click.style(facts + ' characters read', dim=True)}"]
    width = max(60, shutil.get_terminal_size((100, 24)).columns - 16)
    for label, colour in colours.items():
        found = [e for e in record.entities if e.label == label]
        if not found:
            continue
        first: dict[str, int] = {}
        times: Counter[str] = Counter()
        for entity in found:
            quote = " ".join(record.quote(entity).split())
            first.setdefault(quote, entity.span.start)
            times[quote] += 1
        items = [
            f"{quote} @{start}" + (f" (x{times[quote]})" if times[quote] > 1 else "")
            for quote, start in first.items()
        ]
        for i, row in enumerate(textwrap.wrap(", ".join(items), width)):
            name = click.style(f"  {label if i == 0 else '':<12}", fg=colour)
            lines.append(f"{name}{row}")
    if len(lines) == 1:
        lines.append("  nothing found")
    return lines


def summary(records: Sequence[Record], labels: Sequence[str], colours: dict[str, str]) -> list[str]:
    """Give the lines of a table: notes down, labels across."""
    width = max(len(record.note.id) for record in records)
    head = f"{'note':<{width}}  {'words':>6}" + "".join(
        click.style(f"  {label:>10}", fg=colours[label]) for label in labels
    )
    lines = [click.style(head, bold=True)]
    totals = [0] * (len(labels) + 1)
    for record in records:
        counts = Counter(entity.label for entity in record.entities)
        row = [len(record.note.text.split()), *(counts[label] for label in labels)]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        lines.append(_table_row(record.note.id, row, width))
    lines.append(click.style(_table_row("all", totals, width), bold=True))
    return lines


def _table_row(name: str, row: Sequence[int], width: int) -> str:
    return f"{name:<{width}}  {row[0]:>6,}" + "".join(f"  {n:>10,}" for n in row[1:])
