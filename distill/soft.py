"""What other students think of each token of the one that learns: soft labels."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clin_edge.core.crf import CrfTables
from clin_edge.core.decode import log_softmax
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor, Reading
from clin_edge.distill.crf import Chains, Crf
from clin_edge.distill.dataset import LOWEST
from clin_edge.distill.student import Student

Said = tuple[NDArray[np.int64], NDArray[np.float16]]
"""What a teacher thinks of a note: the characters of its own M tokens (M, 2), and rows (M, C)."""


@dataclass(frozen=True, slots=True, eq=False)
class SoftTeacher:
    """Who is followed: what reads notes, the tags it gives, its CRF if it has one.

    ``identity`` is a hash of all that decides what it says.
    """

    predictor: Predictor
    scheme: LabelScheme
    crf: CrfTables | None
    identity: str


def student_teacher(student: Student) -> SoftTeacher:
    """Let a student teach."""
    windows = (student.max_tokens, student.overlap, student.passage_tokens)
    digest = hashlib.sha256(repr((windows, student.scheme.tags)).encode())
    digest.update(student.tokenizer_json)
    for name, tensor in sorted(student.model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    if student.crf is not None:
        digest.update(student.crf.to_npz())
    return SoftTeacher(student.predictor, student.scheme, student.crf, digest.hexdigest())


def soft_labels(
    notes: Iterable[Note], encoder: Encoder, scheme: LabelScheme, teachers: Sequence[SoftTeacher]
) -> Iterator[NDArray[np.float16]]:
    """Read notes with ``teachers``, lazily and in order; give log-probabilities (N, C) of each.

    It is ``together`` of what each says. Each reads with windows and a tokenizer of its own.

    Raises:
        InputError: If a teacher has other labels than ``scheme``.
    """
    *copies, notes = itertools.tee(notes, len(teachers) + 1)
    said = [says(teacher, copy) for teacher, copy in zip(teachers, copies, strict=True)]
    return together(notes, encoder, scheme, teachers, said)


def says(teacher: SoftTeacher, notes: Iterable[Note]) -> Iterator[Said]:
    """Give what one teacher thinks of notes, lazily: its tokens, and log-probabilities of each.

    Columns are the tags of its own scheme. A CRF gives the probability of each tag over all tag
    sequences of the note. No value is below ``LOWEST``; float16 leaves a row's sum within
    ln(C) / 2048 of 1.
    """
    log_p = _softmax if teacher.crf is None else _marginals(teacher.crf, teacher.scheme)

    def of_reading(reading: Reading) -> Said:
        return reading.encoded.offsets, np.maximum(log_p(reading), LOWEST).astype(np.float16)

    return map(of_reading, teacher.predictor.read(notes))


def together(
    notes: Iterable[Note],
    encoder: Encoder,
    scheme: LabelScheme,
    teachers: Sequence[SoftTeacher],
    said: Sequence[Iterable[Said]],
) -> Iterator[NDArray[np.float16]]:
    """Give the mean of the probabilities that ``says`` gave for each teacher, as logarithms (N, C).

    Rows are the tokens of ``encoder.encode(note)``, to which each teacher's are carried over, see
    ``realign``; columns are the tags of ``scheme``. No value is below ``LOWEST``; float16, twice,
    leaves a row's sum within ln(C) / 1024 of 1.

    Raises:
        InputError: If a teacher has other labels than ``scheme``.
    """
    columns = [_columns(teacher.scheme, scheme) for teacher in teachers]

    def mean(note: Note, of_all: tuple[Said, ...]) -> NDArray[np.float16]:
        ours = encoder.encode(note).offsets
        carried = [
            realign(rows[:, tags].astype(np.float32), theirs, ours)
            for tags, (theirs, rows) in zip(columns, of_all, strict=True)
        ]
        mixed: NDArray[np.float32] = np.logaddexp.reduce(carried, axis=0) - np.log(len(carried))
        return np.maximum(mixed, LOWEST).astype(np.float16)

    return map(mean, notes, zip(*said, strict=True))


def _columns(theirs: LabelScheme, ours: LabelScheme) -> list[int]:
    if set(theirs.types) != set(ours.types):
        raise InputError(
            f"the soft teacher knows {', '.join(sorted(theirs.types))}, the student is to "
            f"know {', '.join(sorted(ours.types))}; give both the same labels"
        )
    return [theirs.index[tag] for tag in ours.tags]


def realign(
    rows: NDArray[np.float32], source: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Carry log-probabilities (M, C) of BIO tags over to the tokens of another tokenizer (N, C).

    The same tokens keep their rows. Else each token takes the row of the source's token that holds
    its first character; if it begins inside that one, or is not the first to begin there, it can
    only go on with an entity, and the mass of B-X moves to I-X. Between the source's tokens, or
    without characters of its own, it lies in an entity if the next source token goes on with one:
    it takes that row, and the mass of B-X moves to O.

    So if the rows are sure of tags whose spans cut no target token, the tags carried over are
    those that ``spans_to_tags`` gives for these spans.

    Args:
        rows: Log-probabilities, tags in the order of ``LabelScheme.tags``.
        source: Characters of the M tokens that ``rows`` are about (M, 2), in text order.
        target: Those of the N tokens wanted (N, 2).
    """
    if np.array_equal(source, target):
        return rows
    # After the last token nothing goes on: a row sure of O, beyond any character.
    after = np.full((1, rows.shape[1]), LOWEST, dtype=np.float32)
    after[0, 0] = 0
    beyond = max(source.max(initial=0), target.max(initial=0)) + 1
    starts, ends = target.T
    holder = np.searchsorted(source[:, 1], starts, side="right")
    begins = np.append(source[:, 0], beyond)[holder]
    out: NDArray[np.float32] = np.concatenate([rows, after])[holder]
    repeated = np.zeros(len(target), dtype=bool)
    repeated[1:] = (starts[1:] == starts[:-1]) & (starts[:-1] < ends[:-1])
    inside = (begins < starts) | ((begins == starts) & repeated)
    between = ~inside & ((begins > starts) | (starts == ends))
    _only_go_on(out, inside)
    out[between, 0] = np.logaddexp(out[between, 0], np.logaddexp.reduce(out[between, 1::2], axis=1))
    out[between, 1::2] = LOWEST
    return out


def _softmax(reading: Reading) -> NDArray[np.float32]:
    return log_softmax(reading.logits)


def _marginals(tables: CrfTables, scheme: LabelScheme) -> Callable[[Reading], NDArray[np.float32]]:
    """Give what reads a CRF's log-marginals (N, C), each token's from its unit."""
    with torch.random.fork_rng(devices=[]):  # a new Crf draws numbers, here for nothing
        crf = Crf(scheme, constrained=tables.constrained)
    crf.load(tables)
    whole_note = torch.ones(1, dtype=torch.bool)

    @torch.no_grad()
    def of_tokens(reading: Reading) -> NDArray[np.float32]:
        if not len(reading.logits):
            return reading.logits
        opens_word = reading.encoded.opens_word
        first = opens_word if tables.first_pieces else np.ones_like(opens_word)
        emissions = torch.from_numpy(reading.logits[first])[None]
        opens = torch.from_numpy(opens_word[first])[None]
        chains = Chains(torch.ones_like(opens), opens, whole_note, whole_note)
        units = crf.log_marginals(emissions, chains)[0].numpy()
        rows: NDArray[np.float32] = units[np.cumsum(first) - 1]
        _only_go_on(rows, ~first)
        return rows

    return of_tokens


def _only_go_on(rows: NDArray[np.float32], marked: NDArray[np.bool_]) -> None:
    """Move, in the rows (N, C) that are marked (N,), the mass of B-X to I-X."""
    rows[marked, 2::2] = np.logaddexp(rows[marked, 1::2], rows[marked, 2::2])
    rows[marked, 1::2] = LOWEST
