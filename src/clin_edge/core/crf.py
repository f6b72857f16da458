"""A linear-chain CRF at the edge: its learned tables, their file, and what they find in notes.

A chain runs over a whole note. Many notes are read at once: a step along a chain costs Python as
much for one of them as for a hundred.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clin_edge.core.batching import Logits
from clin_edge.core.decode import tags_of_pieces, word_scores
from clin_edge.core.encode import Encoded
from clin_edge.core.errors import BundleError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.lattice import Lattice
from clin_edge.core.spans import Entity

CRF_FILE = "crf.npz"
_RULES = ("first_pieces", "constrained")
_HEADER_BYTES = 128
_ZIP_BYTES = 4096  # what five members need beside their content, and room
# The score of what may not be: finite, and below any sum of float32 numbers.
_FORBIDDEN = -1e300
_LATTICE_SIZE = 1 << 18  # units times tags; more at once gain little


@dataclass(frozen=True, slots=True, eq=False)
class CrfTables:
    """What a CRF has learnt over C tags, and the rules it was trained under.

    ``transitions[a, b]`` (C, C) scores tag b after tag a, ``start`` and ``end`` (C,) the tag of a
    note's first and last unit; float32, added to the logits. ``first_pieces``: units are words,
    read at their first piece; otherwise tokens. ``constrained``: tags obey the scheme and no word
    is cut; otherwise nothing is forbidden.

    Raises:
        ValueError: If shapes disagree, or a table is not float32 or not finite.
    """

    transitions: NDArray[np.float32]
    start: NDArray[np.float32]
    end: NDArray[np.float32]
    first_pieces: bool
    constrained: bool

    def __post_init__(self) -> None:
        """Refuse tables that do not fit together."""
        for name, shape in _shapes(len(self.start)).items():
            table = getattr(self, name)
            if table.shape != shape or table.dtype != np.float32 or not np.isfinite(table).all():
                raise ValueError(f"{name} needs {shape} finite numbers in float32")

    def to_npz(self) -> bytes:
        """Write them as ``crf.npz``, which ``np.load`` reads; same tables, same bytes.

        Not by ``np.savez``: its headers are numpy's own affair, and ``from_npz`` compares them.
        """
        shapes = _shapes(len(self.start))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for name in (*shapes, *_RULES):
                kind = "?" if name in _RULES else "<f4"
                values = np.asarray(getattr(self, name), dtype=kind)
                member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
                member.create_system = 3  # as on Unix, also where it is not
                archive.writestr(member, _header(kind, shapes.get(name, ())) + values.tobytes())
        return out.getvalue()

    @classmethod
    def from_npz(cls, raw: bytes, n_tags: int) -> Self:
        """Read what ``to_npz`` wrote, for a scheme of ``n_tags`` tags.

        Nothing is unpacked or unpickled: every member must have the size, the header and the
        place that these tables have.

        Raises:
            BundleError: If it is anything else, or holds a number that is not finite.
        """
        shapes = _shapes(n_tags)
        headers = {name: _header("<f4", shape) for name, shape in shapes.items()}
        headers |= {name: _header("?", ()) for name in _RULES}
        sizes = {name: 4 * int(np.prod(shapes[name])) if name in shapes else 1 for name in headers}
        parts: dict[str, Any] = {}
        try:
            if len(raw) > _ZIP_BYTES + sum(sizes.values()) + _HEADER_BYTES * len(sizes):
                raise ValueError("too large")
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                found = [(m.filename, m.compress_type, m.file_size) for m in archive.infolist()]
                if found != [
                    (f"{name}.npy", zipfile.ZIP_STORED, _HEADER_BYTES + size)
                    for name, size in sizes.items()
                ]:
                    raise ValueError("other members")
                for name, header in headers.items():
                    content = archive.read(f"{name}.npy")
                    if not content.startswith(header):
                        raise ValueError("another header")
                    parts[name] = content[len(header) :]
            for name, shape in shapes.items():
                parts[name] = np.frombuffer(parts[name], "<f4").astype(np.float32).reshape(shape)
            for name in _RULES:
                parts[name] = {b"\0": False, b"\1": True}[parts[name]]
            return cls(**parts)
        # zipfile has no one class for what is wrong with a file.
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, RuntimeError):
            raise BundleError(
                f"{CRF_FILE}: not the tables of a CRF over {n_tags} tags; "
                "copy the bundle again, or export it anew"
            ) from None


def _shapes(n_tags: int) -> dict[str, tuple[int, ...]]:
    return {"transitions": (n_tags, n_tags), "start": (n_tags,), "end": (n_tags,)}


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    """Begin an ``.npy`` file: version 1.0 of the format, padded to a fixed length.

    Source: ``numpy.lib.format``.
    """
    text = f"{{'descr': {np.dtype(kind).str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    start = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.encode().ljust(_HEADER_BYTES - 11) + b"\n"


def find_entities(
    notes: Sequence[tuple[Encoded, Logits]], tables: CrfTables, scheme: LabelScheme
) -> list[list[Entity]]:
    """Read the entities of notes with logits (N, C), each note's in text order.

    Of all the tags that a note's units may bear, those are taken that score highest together. An
    entity's score is the probability of exactly this span with this label: the share it has, over
    all the tags the note may bear, of those in which it is found. What is found in a note does not
    depend on the other notes.

    Memory grows with the longest note, not with their number, beside what is given and found.
    """
    found: list[list[Entity]] = [[] for _ in notes]
    firsts = [_unit_starts(encoded.opens_word, tables) for encoded, _ in notes]
    n_units = [int(first.sum()) for first in firsts]
    for group in _longest_first(n_units, _LATTICE_SIZE // len(scheme.tags)):
        first = np.concatenate([firsts[i] for i in group])
        logits = np.concatenate([notes[i][1] for i in group])
        token_ends = np.cumsum([len(firsts[i]) for i in group])
        unit = np.cumsum(first) - 1
        lattice = _lattice(logits, first, unit[token_ends - 1], tables, scheme)
        paths = lattice.best_paths()
        tags = tags_of_pieces(paths, first)
        spans, bounds = [], []
        for i, end in zip(group, token_ends.tolist(), strict=True):
            start = end - len(firsts[i])
            for span, label, tokens in scheme.spans(tags[start:end], notes[i][0].offsets):
                spans.append((i, span, label))
                bounds.append((start + tokens.start, start + tokens.stop - 1))
        if spans:
            chances = _span_chances(lattice, paths, *unit[np.array(bounds).T])
            for (i, span, label), chance in zip(spans, chances.tolist(), strict=True):
                found[i].append(Entity(span, label, chance))
    return found


def _longest_first(lengths: Sequence[int], at_most: int) -> Iterator[list[int]]:
    """Group the notes that have a unit: ``at_most`` units together, or one note alone."""
    group: list[int] = []
    n_units = 0
    for i in sorted(filter(lengths.__getitem__, range(len(lengths))), key=lambda i: -lengths[i]):
        if group and n_units + lengths[i] > at_most:
            yield group
            group, n_units = [], 0
        group.append(i)
        n_units += lengths[i]
    if group:
        yield group


def _unit_starts(opens_word: NDArray[np.bool_], tables: CrfTables) -> NDArray[np.bool_]:
    """Tell for each token (N,) of a note whether a unit of the chain begins with it.

    Under the rules a word's tags follow from its first piece's: so words are units there too.
    """
    starts = opens_word | (not tables.first_pieces and not tables.constrained)
    starts[:1] = True
    return starts


def _lattice(
    logits: Logits,
    first: NDArray[np.bool_],
    last_units: NDArray[np.intp],
    tables: CrfTables,
    scheme: LabelScheme,
) -> Lattice:
    """Score the units of notes whose tokens stand one note after another.

    A word of several pieces, where all of them count, is of kind 1: the steps between its pieces
    are part of its score, and what comes after it, a step or the note's end, its last piece meets.

    Args:
        logits: (N, C).
        first: (N,), true where a unit begins.
        last_units: The last unit of each note (B,).
        tables: What was learnt, and the rules.
        scheme: Says which tag may follow which.
    """
    opens, inside = np.arange(1, len(scheme.tags), 2), np.arange(2, len(scheme.tags), 2)
    begins = np.flatnonzero(first)
    kinds = np.zeros(len(begins), dtype=np.intp)
    steps = tables.transitions.astype(np.float64)
    if tables.constrained:
        steps[~scheme.allowed] = _FORBIDDEN
    of_last_piece = np.arange(len(scheme.tags))
    of_last_piece[opens] = inside
    scores = logits[begins].astype(np.float64)
    if tables.constrained and not tables.first_pieces:
        n_more = np.diff(begins, append=len(first)) - 1
        kinds[n_more > 0] = 1
        scores = word_scores(logits.astype(np.float64), begins)
        scores[:, 0] += n_more * steps[0, 0]
        scores[:, inside] += np.outer(n_more, steps[inside, inside])
        scores[:, opens] += np.outer(np.maximum(n_more - 1, 0), steps[inside, inside])
        scores[:, opens] += np.outer(kinds, steps[opens, inside])
    lengths = np.diff(last_units, prepend=-1)
    first_units = last_units - lengths + 1
    scores[first_units] += tables.start
    scores[last_units] += np.stack([tables.end, tables.end[of_last_piece]])[kinds[last_units]]
    if tables.constrained:
        scores[np.ix_(first_units, np.flatnonzero(~scheme.allowed_first))] = _FORBIDDEN
    return Lattice(scores.T.copy(), lengths, np.stack([steps, steps[of_last_piece]], axis=2), kinds)


def _span_chances(
    lattice: Lattice, paths: NDArray[np.intp], first: NDArray[np.intp], last: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Give the probability of each of S spans, all of them on the best ``paths`` (U,).

    A span of label X stands on units ``first`` to ``last``, both (S,): the first bears B-X, or I-X
    that goes on with nothing (which the rules forbid), the others I-X, and what follows is not I-X.
    """
    scores, steps, kinds = lattice.scores, lattice.steps, lattice.kinds
    ends = np.cumsum(lattice.lengths)
    chain = np.searchsorted(ends, first, side="right")
    # Sums over all paths are dear, and of use only where there is a span.
    wanted = np.bincount(chain, minlength=len(ends)) > 0
    so_far, onward = np.zeros((2, *scores.shape))
    keep = np.repeat(wanted, lattice.lengths)
    so_far[:, keep], onward[:, keep] = lattice.only(wanted).log_sums()

    at_start, at_end = first == (ends - lattice.lengths)[chain], last == ends[chain] - 1
    several = last > first
    # logaddexp, unlike add, sums in order whatever the shape: the same bits in any company.
    spans = np.arange(len(first))
    inside = (paths[first] + 1) // 2 * 2
    opens = inside - 1
    ways_in = so_far[:, first - 1] + steps[:, inside, kinds[first - 1]]
    ways_in[opens, spans] = ways_in[inside, spans] = _FORBIDDEN
    anew = scores[inside, first] + np.where(at_start, 0, np.logaddexp.reduce(ways_in))
    rest = onward[:, np.minimum(last + 1, len(kinds) - 1)]
    rest[inside, spans] = _FORBIDDEN
    bounds = np.stack([first + 1, last + 1], axis=1).reshape(-1)
    on_path = np.append(scores[paths, np.arange(len(paths))], 0)
    within = np.add.reduceat(on_path, bounds)[::2] + (last - first - 1) * steps[inside, inside, 0]
    ways = []
    for tag, begun in ((opens, so_far[opens, first]), (inside, anew)):
        last_tag = np.where(several, inside, tag)
        way_out = np.logaddexp.reduce(steps[last_tag, :, kinds[last]].T + rest)
        second = steps[tag, inside, kinds[first]] + within
        ways.append(begun + np.where(several, second, 0) + np.where(at_end, 0, way_out))
    totals = np.logaddexp.reduce(so_far[:, ends[chain] - 1])
    chances: NDArray[np.float64] = np.minimum(np.exp(np.logaddexp(*ways) - totals), 1)
    return chances
