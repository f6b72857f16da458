"""Teachers label notes: one file of labelled notes a teacher."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.logs import log
from clin_edge.core.notes import Note, NoteFormat, check_notes, read_notes
from clin_edge.core.spans import alternatives
from clin_edge.distill.labelling.files import Sheet, Tally
from clin_edge.distill.teachers import SetAside, Teacher
from clin_edge.distill.teachers.llm.asking import Asking
from clin_edge.distill.teachers.llm.teacher import Asked, LlmTeacher, Plan
from clin_edge.distill.teachers.spec import make_teachers
from clin_edge.distill.teachers.terminology.settings import TeacherSettings

Progress = Callable[[int, int, float], None]
"""Told after every note: notes done, notes in all (0 if not known), US dollars of this run."""


def label_notes(
    notes_places: Sequence[str],
    fmt: NoteFormat,
    specs: Sequence[str],
    out: Path,
    labels: frozenset[str] | None,
    *,
    asking: Asking | None = None,
    settings: TeacherSettings | None = None,
    concurrency: int = 4,
    progress: Progress | None = None,
) -> dict[str, Tally]:
    """Write ``out/<teacher>.jsonl`` for every teacher: every note it labelled, in order.

    Files appear whole and all together at the end, or not at all. Notes are read twice and one at
    a time, so memory does not grow with their number. Notes that a teacher has no usable answer to
    are listed in ``out/quarantine/<teacher>.jsonl`` with the reason; what a language model took
    and how its quotes were placed is told in ``out/<teacher>.report.json``.

    Args:
        notes_places: What ``read_notes`` reads.
        fmt: Names of columns; the longest note.
        specs: Teachers, such as ``rxnorm:FOLDER`` (see ``make_teachers``).
        out: The folder to write to; it is made.
        labels: Keep only these; all if ``None``. An entity labelled ``A|B`` is kept for either.
        asking: How language models are asked.
        settings: How terminologies are made teachers.
        concurrency: Notes that are asked about at the same time.
        progress: Told after every note.

    Returns:
        What each teacher did, by name.

    Raises:
        ExternalHostError: If notes would leave this network without leave.
        InputError: If a note or a terminology cannot be read, a teacher marks none of ``labels``,
            or ``out`` cannot be written.
        MissingInstallError: If a teacher's client is not installed.
        TeacherError: If a teacher has nothing to teach, fails, or has no answer to any note.
    """
    n_notes = check_notes(notes_places, fmt).count
    teachers = make_teachers(specs, asking, settings)
    try:
        with ExitStack() as stack:
            for llm in _llms(teachers):
                stack.callback(llm.close)
            _check_labels(teachers, labels)
            sheets = [Sheet(teacher, out, labels) for teacher in teachers]
            _spare_the_notes(notes_places, [sheet.path for sheet in sheets])
            for sheet in sheets:
                stack.enter_context(sheet)
            asked_all = _ask_all(read_notes(notes_places, fmt), teachers, concurrency)
            labelled = stack.enter_context(closing(asked_all))
            for done, (note, answers) in enumerate(labelled, start=1):
                for sheet, asked in zip(sheets, answers, strict=True):
                    sheet.write(note, _only(asked, labels))
                if progress is not None:
                    progress(done, n_notes, cost_now(teachers))
            for sheet in sheets:
                sheet.check()
            for sheet in sheets:
                sheet.publish()
    except OSError as error:
        where = error.filename or out
        raise InputError(f"{where}: cannot be written ({error.strerror or error})") from None
    for sheet in sheets:
        if not sheet.tally.entities.total():
            log.warning("%s: found nothing in any note", sheet.teacher.name)
    return {sheet.teacher.name: sheet.tally for sheet in sheets}


def plan_notes(
    notes_places: Sequence[str], fmt: NoteFormat, specs: Sequence[str], asking: Asking
) -> dict[str, tuple[str, Plan]]:
    """Give, by language model, its server's host and what asking about the notes would take.

    Nothing is sent. Raises as ``label_notes`` does.
    """
    check_notes(notes_places, fmt)
    teachers = make_teachers(specs, replace(asking, dry_run=True))
    llms = _llms(teachers)
    plans = {teacher.name: (teacher.host, Plan()) for teacher in llms}
    with ExitStack() as stack:
        for teacher in llms:
            stack.callback(teacher.close)
        for note in read_notes(notes_places, fmt):
            for teacher in llms:
                host, plan = plans[teacher.name]
                plans[teacher.name] = host, plan + teacher.plan(note)
    return plans


def cost_now(teachers: Iterable[Teacher]) -> float:
    """Give the US dollars that language models took in this run."""
    return sum(llm.sender.total.cost for llm in _llms(teachers))


def _llms(teachers: Iterable[Teacher]) -> list[LlmTeacher]:
    return [teacher for teacher in teachers if isinstance(teacher, LlmTeacher)]


def _check_labels(teachers: Iterable[Teacher], labels: frozenset[str] | None) -> None:
    for teacher in teachers:
        if labels is not None and not teacher.marked & labels:
            marks = ", ".join(sorted(teacher.marked))
            raise InputError(f"{teacher.name}: marks {marks}, none of the labels asked for")


def _ask_all(
    notes: Iterable[Note], teachers: Sequence[Teacher], concurrency: int
) -> Generator[tuple[Note, list[Asked]], None, None]:
    """Yield the notes in order with every teacher's answer; language models are asked ahead."""
    llms = _llms(teachers)
    ahead = 4 * concurrency if llms else 1
    waiting: deque[tuple[Note, dict[str, Future[Asked]]]] = deque()
    pool = ThreadPoolExecutor(max(concurrency, 1))

    def stop(failed: Future[Asked]) -> None:
        if not failed.cancelled() and failed.exception() is not None:
            _stop(llms)

    try:
        for note in notes:
            asked = {llm.name: pool.submit(llm.ask, note) for llm in llms}
            for future in asked.values():
                future.add_done_callback(stop)
            waiting.append((note, asked))
            if len(waiting) >= ahead:
                yield _answers(*waiting.popleft(), teachers)
        while waiting:
            yield _answers(*waiting.popleft(), teachers)
    finally:
        # What is under way is waited for, so that its answer is kept; nothing new is sent.
        _stop(llms)
        pool.shutdown(wait=True, cancel_futures=True)


def _stop(llms: Iterable[LlmTeacher]) -> None:
    for llm in llms:
        llm.sender.stop()


def _answers(
    note: Note, futures: dict[str, Future[Asked]], teachers: Sequence[Teacher]
) -> tuple[Note, list[Asked]]:
    return note, [
        futures[t.name].result() if t.name in futures else _read(t, note) for t in teachers
    ]


def _read(teacher: Teacher, note: Note) -> Asked:
    try:
        return Asked(teacher.read(note))
    except SetAside as reason:
        return Asked(None, str(reason))


def _only(asked: Asked, labels: frozenset[str] | None) -> Asked:
    item = asked.labelled
    if labels is None or item is None:
        return asked
    entities = tuple(e for e in item.entities if not labels.isdisjoint(alternatives(e.label)))
    kept = Labelled(item.note, entities, item.marked & labels, item.dropped)
    return replace(asked, labelled=kept)


def _spare_the_notes(notes_places: Sequence[str], paths: Iterable[Path]) -> None:
    """Refuse to write over a file that the notes are read from."""
    read = {Path(place).resolve() for place in notes_places}
    for path in paths:
        if path.resolve() in read:
            raise InputError(f"{path}: notes are read from it; choose another folder to write to")
