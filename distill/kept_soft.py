"""What teachers say of many notes takes them long: it is kept beside a run until that is over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.encode import Encoder
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.distill.soft import Said, SoftTeacher, says, together


def kept_soft_labels(
    notes: Sequence[Note],
    encoder: Encoder,
    scheme: LabelScheme,
    teachers: Sequence[SoftTeacher],
    folder: Path,
) -> Iterator[NDArray[np.float16]]:
    """Give what ``soft_labels`` gives; of a second call with the same notes and teachers, at once.

    ``folder`` gets, for each teacher, a file of the rows of all notes, once they are whole. It is
    named by the hash of all that decides them: notes and teacher, not who learns from it.

    Raises:
        InputError: If a teacher has other labels than ``scheme``, before any is asked.
    """
    kept = [_kept(notes, teacher, folder) for teacher in teachers]
    return together(notes, encoder, scheme, teachers, kept)


def _kept(notes: Sequence[Note], teacher: SoftTeacher, folder: Path) -> Iterator[Said]:
    path = folder / f"soft-{_key(notes, teacher)[:32]}.float16"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, says(teacher, notes))
    yield from _read(path, notes, teacher)


def _write(path: Path, said: Iterable[Said]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for _, rows in said:
            file.write(rows.astype("<f2").tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read(path: Path, notes: Iterable[Note], teacher: SoftTeacher) -> Iterator[Said]:
    n_tags = len(teacher.scheme.tags)
    with path.open("rb") as file:
        for note in notes:
            offsets = teacher.predictor.encoder.encode(note).offsets
            content = file.read(2 * len(offsets) * n_tags)
            yield offsets, np.frombuffer(content, dtype="<f2").reshape(len(offsets), n_tags)


def _key(notes: Sequence[Note], teacher: SoftTeacher) -> str:
    digest = hashlib.sha256(teacher.identity.encode())
    for note in notes:
        text = note.text.encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()
