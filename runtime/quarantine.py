"""The list of notes that are not in the output, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clin_edge.core.lines import NoteError
from clin_edge.core.logs import log
from clin_edge.runtime.disk import Disk
from clin_edge.runtime.writers.partial import cannot_write


def write_quarantine(
    place: Path | None,
    out: Path | None,
    refused: Sequence[NoteError],
    aside: Sequence[tuple[str, str]],
) -> None:
    """Tell which notes are not in the output: in the file named, beside the output, or on stderr.

    A line holds id, place in the input where known, and reason; never a note's text. A file that
    was named is made though no note was set aside; one beside the output is removed then.

    Args:
        place: The file that was named.
        out: The output; None for stdout.
        refused: Notes that could not be read as promised.
        aside: Id and reason of notes that broke a worker.

    Raises:
        InputError: If the file cannot be written.
    """
    lines = [{"id": e.note_id or None, "where": e.where, "reason": e.reason} for e in refused]
    lines += [{"id": note_id, "reason": reason} for note_id, reason in aside]
    if place is None and out is not None:
        place = out.with_name(out.name + ".quarantine.jsonl")
        if not lines:
            with cannot_write(place):
                place.unlink(missing_ok=True)  # an earlier run's
            return
    if place is None:
        for note_id, reason in aside:
            log.warning("note %r was set aside (%s)", note_id, reason)
        return
    disk, making = Disk(), place.with_name(place.name + ".making")
    with cannot_write(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        disk.remove(making)
        fd = disk.open(making)
        try:
            disk.write(fd, "".join(json.dumps(line) + "\n" for line in lines).encode())
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.replace(making, place)
    if lines:
        said = "1 note was" if len(lines) == 1 else f"{len(lines):,} notes were"
        log.warning("%s set aside; see %s", said, place)
