"""The main job: notes in, records out, whatever happens in between."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import InputError
from clin_edge.core.lines import NoteError
from clin_edge.core.notes import STDIN, Fingerprint, Note, NoteFormat, check_notes, read_notes
from clin_edge.runtime.crew import Alone, Crew, Limits
from clin_edge.runtime.durable import DurableOutput, terms_of
from clin_edge.runtime.frames import Order
from clin_edge.runtime.outputs import Done, Output, StdoutOutput
from clin_edge.runtime.pipeline import open_default_or
from clin_edge.runtime.quarantine import write_quarantine
from clin_edge.runtime.sharing import MOST_WORKERS, share_out
from clin_edge.runtime.writers import Format, format_named
from clin_edge.runtime.writers.partial import cannot_write, partial_name

CHUNK_CHARS = 250_000  # some 20 seconds of work on a slow machine
CHUNK_NOTES = 4_096
_FIRST_CHUNK_CHARS = 4_000
NOTE_TIMEOUT_S = 300.0
MEMORY_MB = 4_000


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is to be read, with what, and where the records go.

    Attributes:
        places: Folders and files of notes; see ``core.notes.read_notes``.
        out: The file or folder to make; None for stdout.
        bundle: A bundle's folder; None for the default one.
        quarantine: Where ids of notes that were set aside go, with a reason. If it is given, notes
            that cannot be read as promised are set aside too; without, the first one raises.
        reuse: Remember what was made of the latest passages, for notes that repeat them.
        batch_tokens: Bounds a batch; None for what suits the model.
        resume: Go on after what an earlier run made durable.
        workers: How many processes read notes at once; 0 reads them in this one, unwatched. None
            for as many as suit the bundle and the threads.
        threads: How many threads each has, or, if ``workers`` is None, all together; None for what
            may be used, in equal shares.
        memory_mb: What a worker may take, its model included.
    """

    places: tuple[str, ...]
    out: Path | None = None
    bundle: Path | None = None
    note_format: NoteFormat = field(default_factory=NoteFormat)
    fmt: str = "jsonl"
    with_text: bool = True
    min_score: float = 0.0
    context: bool = False
    reuse: bool = True
    engine: str = "auto"
    batch_tokens: int | None = None
    workers: int | None = None
    threads: int | None = None
    resume: bool = False
    quarantine: Path | None = None
    note_timeout_s: float = NOTE_TIMEOUT_S
    memory_mb: int = MEMORY_MB


@dataclass(slots=True)
class Tally:
    """How far an extraction is. ``total`` is 0 where nobody can know.

    ``before`` and ``words_before`` are those of a run that was stopped.
    """

    total: int = 0
    notes: int = 0
    words: int = 0
    entities: int = 0
    aside: int = 0
    before: int = 0
    words_before: int = 0


def extract(
    job: Extraction,
    *,
    tell: Callable[[Tally], None] = lambda _: None,
    first: subprocess.Popen[bytes] | None = None,
) -> Tally:
    """Find the entities of all notes and write a record for each.

    ``tell`` is told of every chunk that is safe; ``first`` is the first worker's process if that
    was started before, see ``spawning``.

    Raises:
        InputError: If the input cannot be read as promised or the output cannot be written.
        BundleError: If the bundle does not verify, or cannot be used.
        MissingInstallError: If an engine or a format needs what is not installed.
        CoverageError: If some character of a note was read by no window.
        ClinEdgeError: If the model cannot be run at all.
    """
    earlier = terms_of(job.out) if job.resume and job.out is not None else None
    day = (earlier or {}).get("date", date.today().isoformat())
    fmt = format_named(job.fmt, with_text=job.with_text, day=day)
    _check_places(job, fmt)
    # What a bundle holds is not kept here: whoever reads the notes opens it again.
    order, workers = _order(job, open_default_or(job.bundle), day)
    limits = Limits(job.note_timeout_s, job.memory_mb * 1_000_000)
    crew = Crew(order, workers=workers, limits=limits, first=first) if workers else Alone(order)
    try:
        refused: list[NoteError] = []
        refuse = None if job.quarantine is None else refused.append
        seen = check_notes(job.places, job.note_format, refused=refuse, check=fmt.check)
        terms = {
            "bundle": order.manifest_sha256,
            "engine": crew.loaded()["engine"],
            "input": seen.fingerprint,
            "set of options": _options(job),
            "date": day,
        }
        header = fmt.header.encode()
        advice = "" if STDIN in job.places else "; the same command with --resume goes on"
        output: Output = (
            StdoutOutput(header)
            if job.out is None
            else DurableOutput(job.out, terms, resume=job.resume, header=header, advice=advice)
        )
        with output:
            tally = Tally(
                total=0 if STDIN in job.places else seen.count,
                notes=output.notes,
                words=output.words,
                entities=output.entities,
                aside=len(output.aside),
                before=output.notes,
                words_before=output.words,
            )
            if not output.finished:
                refused.clear()  # all are read once more
                read = Fingerprint()
                notes = read.of(read_notes(job.places, job.note_format, refused=refuse))
                left = islice(notes, output.notes, None)
                # Smaller pieces for more workers, so that all of them end at much the same time.
                chars = CHUNK_CHARS // min(max(1, workers), MOST_WORKERS)
                for done in crew.read(chunks(left, chars)):
                    output.add(done)
                    _count(tally, done)
                    tell(tally)
                if STDIN not in job.places and read.hexdigest() != seen.fingerprint:
                    raise InputError(
                        "the notes were changed while they were read, so no one can say what was "
                        "found in which; run the command again without --resume"
                    )
            tally.aside += len(refused)
            write_quarantine(job.quarantine, job.out, refused, output.aside)
            output.finish(fmt.make)
        return tally
    finally:
        crew.stop()


def chunks(notes: Iterable[Note], chars: int = CHUNK_CHARS) -> Iterator[list[Note]]:
    """Cut notes into the pieces that are made durable together; a longer note is one alone.

    The first ones are small, so that something is there to see soon.
    """
    chunk: list[Note] = []
    n_chars, at_most = 0, _FIRST_CHUNK_CHARS
    failure: Exception | None = None
    source = iter(notes)
    while True:
        try:
            note = next(source)
        except StopIteration:
            break
        except Exception as error:  # what came before is read first
            failure = error
            break
        if chunk and (n_chars + len(note.text) > at_most or len(chunk) == CHUNK_NOTES):
            yield chunk
            chunk, n_chars, at_most = [], 0, min(2 * at_most, chars)
        chunk.append(note)
        n_chars += len(note.text)
    if chunk:
        yield chunk
    if failure is not None:
        raise failure


def _order(job: Extraction, bundle: Bundle, day: str) -> tuple[Order, int]:
    """Give what each worker is told, and how many there may be."""
    workers, threads = share_out(job.workers, job.threads)
    order = Order(
        bundle=str(bundle.path),
        manifest_sha256=bundle.manifest_sha256,
        engine=job.engine,
        threads=threads,
        batch_tokens=job.batch_tokens,
        fmt=job.fmt,
        with_text=job.with_text,
        day=day,
        min_score=job.min_score,
        context=job.context,
        reuse=job.reuse,
    )
    return order, workers


def _options(job: Extraction) -> list[Any]:
    """Give the options on which records depend; threads, workers and batches are none of them."""
    return [job.fmt, job.with_text, job.min_score, job.context]


def _check_places(job: Extraction, fmt: Format) -> None:
    """Refuse outputs that would overwrite an input or each other, and what cannot be resumed."""
    if job.out is None:
        if fmt.make is not None:
            raise InputError(f"--format {fmt.name} needs -o: it cannot go to stdout")
        if job.resume:
            raise InputError("--resume needs -o: what went to stdout cannot be found again")
    elif job.resume and STDIN in job.places:
        raise InputError("--resume cannot read stdin a second time; give the notes as a file")
    made = [job.quarantine] if job.quarantine is not None else []
    if job.out is not None:
        partial_name(job.out)
        made += [job.out, *(job.out.with_name(job.out.name + end) for end in _ENDINGS)]
        if fmt.name != "brat" and job.out.is_dir():
            raise InputError(f"{job.out}: is a folder; name a file to make")
        if fmt.name == "brat" and job.out.exists() and not job.resume:
            with cannot_write(job.out):
                if not job.out.is_dir() or any(job.out.iterdir()):
                    raise InputError(f"{job.out}: exists and is not empty; choose another folder")
    for path in made:
        for place in job.places:
            read = Path(place).resolve()
            if place != STDIN and (read == path.resolve() or path.resolve() in read.parents):
                raise InputError(f"{place}: would be overwritten by the output; choose another -o")
    if job.quarantine in made[1:]:
        raise InputError(f"{job.quarantine}: is made by -o; choose another --quarantine")


_ENDINGS = (".partial", ".journal", ".making")


def _count(tally: Tally, done: Done) -> None:
    tally.notes += done.notes
    tally.words += done.words
    tally.entities += done.entities
    tally.aside += len(done.aside)
