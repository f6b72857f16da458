"""The notes that are read while speed is measured: invented ones, or the user's own."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clin_edge.core.encode import Encoder
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note, NoteFormat, read_notes
from clin_edge.runtime.notes_parquet import READERS

SIZES = (50, 100, 200, 350, 500, 800, 2000)  # of the notes of a portion, in tokens
LATENCY_WORDS = {100: 20, 500: 10, 2000: 5}  # words of a note, and how many such notes a round
MAX_PORTIONS = 60
PARAGRAPH_SENTENCES = 12  # some 70 words; in 300 transcribed notes (mtsamples) a paragraph has 66
_SAMPLES = Path(__file__).parent.parent / "samples"


@dataclass(frozen=True, slots=True)
class Portion:
    """A JSONL file of notes; ``tokens`` are those of the notes, each once, none of a model's own.

    Portions of invented notes have notes of the same sizes.
    """

    path: Path
    notes: int
    words: int
    tokens: int
    chars: int


def invented_portions(folder: Path, encoder: Encoder) -> list[Portion]:
    """Write ``MAX_PORTIONS`` portions of notes of about ``SIZES`` tokens; the same each time.

    Sentences of the package's samples in an order drawn anew for each note: hardly two windows are
    alike, so that nothing is gained by remembering one.
    """
    sentences = _sentences()
    lengths = {s: len(encoder.encode(Note("s", s)).ids) for s in sentences}
    portions = []
    for p in range(MAX_PORTIONS):
        draw = random.Random(p)
        sizes = draw.sample(SIZES, k=len(SIZES))
        notes = [
            Note(f"p{p}-{i}", _of_tokens(sentences, lengths, size, draw))
            for i, size in enumerate(sizes)
        ]
        portions.append(_write(folder / f"portion-{p}.jsonl", notes, encoder))
    return portions


def own_portions(folder: Path, encoder: Encoder, places: Sequence[str]) -> list[Portion]:
    """Write the first of the user's notes as portions of as many tokens as invented ones have.

    Raises:
        InputError: If a place cannot be read or holds no note, or notes hold no text.
    """
    portions = []
    notes = read_notes(places, NoteFormat(readers=READERS))
    for p, some in enumerate(islice(_by_tokens(notes, encoder), MAX_PORTIONS)):
        portions.append(_write(folder / f"portion-{p}.jsonl", some, encoder))
    if not any(portion.tokens for portion in portions):
        raise InputError(f"{places[0]}: its notes hold no text to read; name others")
    return portions


def latency_notes(folder: Path, words: int, encoder: Encoder) -> Portion:
    """Write invented notes of exactly ``words`` words, as many as ``LATENCY_WORDS`` says."""
    sentences = _sentences()
    notes = []
    for i in range(LATENCY_WORDS[words]):
        draw = random.Random(1000 * words + i)
        drawn: list[str] = []
        while len(drawn) < words:
            drawn += draw.choice(sentences).split()
        notes.append(Note(f"w{words}-{i}", " ".join(drawn[:words])))
    return _write(folder / f"latency-{words}.jsonl", notes, encoder)


def _sentences() -> list[str]:
    texts = (path.read_text(encoding="utf-8") for path in sorted(_SAMPLES.glob("*.txt")))
    pieces = (piece.strip() for text in texts for piece in re.split(r"(?<=[.:;])\s+|\n+", text))
    return sorted({piece for piece in pieces if piece})


def _of_tokens(
    sentences: Sequence[str], lengths: dict[str, int], size: int, draw: random.Random
) -> str:
    """Draw sentences as long as they fit into ``size`` tokens, each at most once."""
    drawn: list[str] = []
    for sentence in draw.sample(sentences, k=len(sentences)):
        if lengths[sentence] <= size:
            drawn.append(sentence)
            size -= lengths[sentence]
    draw.shuffle(drawn)  # what filled the last gaps was short
    ends = {i: "\n\n" if i % PARAGRAPH_SENTENCES == 0 else " " for i in range(1, len(drawn) + 1)}
    return "".join(s + ends[i] for i, s in enumerate(drawn, 1)).strip()


def _by_tokens(notes: Iterable[Note], encoder: Encoder) -> Iterator[list[Note]]:
    some: list[Note] = []
    n_tokens = 0
    for note in notes:
        some.append(note)
        n_tokens += len(encoder.encode(note).ids)
        if n_tokens >= sum(SIZES):
            yield some
            some, n_tokens = [], 0
    if some:
        yield some


def _write(path: Path, notes: Sequence[Note], encoder: Encoder) -> Portion:
    lines = (json.dumps({"id": n.id, "text": n.text}, ensure_ascii=False) + "\n" for n in notes)
    path.write_text("".join(lines), encoding="utf-8")
    return Portion(
        path,
        notes=len(notes),
        words=sum(len(n.text.split()) for n in notes),
        tokens=sum(len(encoder.encode(n).ids) for n in notes),
        chars=sum(len(n.text) for n in notes),
    )
