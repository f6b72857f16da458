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
from clin_edge.distill.soft import SoftTeacher, soft_labels


def kept_soft_labels(
    notes: Sequence[Note],
    encoder: Encoder,
    scheme: LabelScheme,
    teachers: Sequence[SoftTeacher],
    folder: Path,
) -> Iterator[NDArray[np.float16]]:
    """Give what ``soft_labels`` gives; of a second call with the same notes and teachers, at once.

    ``folder`` gets the rows of all notes in a file named by the hash of all that decides them, once
    they are whole.
    """
    path = folder / f"soft-{_key(notes, encoder, scheme, teachers)[:32]}.float16"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, soft_labels(notes, encoder, scheme, teachers))
    return _read(path, (len(encoder.encode(note).ids) for note in notes), len(scheme.tags))


def _write(path: Path, said: Iterable[NDArray[np.float16]]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for rows in said:
            file.write(rows.astype("<f2").tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read(path: Path, lengths: Iterable[int], n_tags: int) -> Iterator[NDArray[np.float16]]:
    with path.open("rb") as file:
        for n_tokens in lengths:
            content = file.read(2 * n_tokens * n_tags)
            yield np.frombuffer(content, dtype="<f2").reshape(n_tokens, n_tags)


def _key(
    notes: Sequence[Note], encoder: Encoder, scheme: LabelScheme, teachers: Sequence[SoftTeacher]
) -> str:
    digest = hashlib.sha256(" ".join(scheme.tags).encode())
    for note in notes:
        digest.update(encoder.encode(note).ids.tobytes())
        digest.update(note.text.encode())
    for teacher in teachers:
        digest.update(teacher.identity.encode())
    return digest.hexdigest()
