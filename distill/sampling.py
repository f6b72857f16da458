"""Which sentences and which notes a student is shown.

Every draw is a number worked out from the seed and the note's id, never the next one of a
generator: the same sentence draws the same in any order and any subset of the notes.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.sentences import sentence_starts


@dataclass(frozen=True, slots=True)
class SentenceCount:
    """How many sentences there are, and how many of them are empty: hold no entity.

    Raises:
        ValueError: If there are more empty ones than sentences.
    """

    sentences: int
    empty: int

    def __post_init__(self) -> None:
        """Refuse counts that contradict each other."""
        if not 0 <= self.empty <= self.sentences:
            raise ValueError(f"need 0 <= empty <= sentences, got {self}")

    @property
    def empty_share(self) -> float:
        """The share of empty sentences; 0 if there is no sentence."""
        return self.empty / max(self.sentences, 1)


def sentences_of(item: Labelled) -> list[Span]:
    """Cut a note into sentences that lie end to end and cut no entity.

    Each runs to the start of the next one, blanks included; two that share an entity are one.
    """
    text = item.note.text
    if not text:
        return []
    starts, _ = sentence_starts(text)
    crossed: set[int] = set()
    for entity in item.entities:
        first = bisect_right(starts, entity.span.start)
        crossed.update(starts[first : bisect_left(starts, entity.span.end)])
    return [Span(*edge) for edge in pairwise([*(s for s in starts if s not in crossed), len(text)])]


def drop_empty_sentences(items: Sequence[Labelled], *, keep: float, seed: int) -> list[Labelled]:
    """Leave out most sentences without an entity; a note with no sentence left goes.

    Each empty sentence stays with probability ``keep``, by a draw of its own that depends on
    ``seed``, the note's id and the sentence's number; what stays for one ``keep`` stays for any
    higher one. Entities move along with their text.

    Source: the down-sampling ("SamBD", ``keep`` 0.08) of Belkadi et al. 2023. There a sentence is
    what the network reads at once. Here what stays of a note is one shorter note again, so that a
    student learns from windows as wide as those the runtime shows it.

    Raises:
        ValueError: If ``keep`` is not in [0, 1].
    """
    return [less for item in items if (less := _only(item, _stays(item, keep, seed))) is not None]


def count_sentences(
    items: Iterable[Labelled], *, keep: float = 1.0, seed: int = 0
) -> SentenceCount:
    """Count the sentences that ``drop_empty_sentences`` would leave; as it stands, all.

    Raises:
        ValueError: If ``keep`` is not in [0, 1].
    """
    n_sentences = n_empty = 0
    for item in items:
        for _, entities in _stays(item, keep, seed):
            n_sentences += 1
            n_empty += not entities
    return SentenceCount(n_sentences, n_empty)


def keep_for_share(items: Iterable[Labelled], share: float) -> float:
    """Give the ``keep`` with which ``share`` of the sentences left are empty, in expectation.

    It is 1 where no more than that are empty to begin with. Belkadi et al. 2023 aimed at 0.2072,
    the share in CoNLL-2003.

    Raises:
        ValueError: If ``share`` is not in [0, 1].
    """
    _check_share("share", share)
    count = count_sentences(items)
    if count.empty_share <= share:
        return 1.0
    return share / (1 - share) * (count.sentences - count.empty) / count.empty


def take_share(items: Sequence[Labelled], share: float, *, seed: int) -> list[Labelled]:
    """Take a share of the notes, at least one, in their order: a point of a learning curve.

    A smaller share of the same notes lies within a larger one of the same seed. What several
    sources say of one note goes or stays together.

    Raises:
        ValueError: If ``share`` is not in [0, 1].
    """
    _check_share("share", share)
    ids = sorted({item.note.id for item in items}, key=lambda note_id: _draw(seed, -1, note_id))
    taken = frozenset(ids[: max(1, round(share * len(ids)))])
    return [item for item in items if item.note.id in taken]


def _stays(item: Labelled, keep: float, seed: int) -> Iterator[tuple[Span, list[Entity]]]:
    """Yield the sentences that stay, each with its entities."""
    _check_share("keep", keep)
    waiting = sorted(item.entities, key=lambda entity: entity.span.start, reverse=True)
    for number, sentence in enumerate(sentences_of(item)):
        entities = []
        while waiting and waiting[-1].span.start < sentence.end:
            entities.append(waiting.pop())
        if entities or _draw(seed, number, item.note.id) < keep:
            yield sentence, entities


def _only(item: Labelled, kept: Iterable[tuple[Span, list[Entity]]]) -> Labelled | None:
    """Put the sentences that stay together as one note."""
    text, entities = "", []
    for sentence, found in kept:
        moved = len(text) - sentence.start
        text += item.note.text[sentence.start : sentence.end]
        for entity in found:
            span = Span(entity.span.start + moved, entity.span.end + moved)
            entities.append(dataclasses.replace(entity, span=span))
    if not text:
        return None
    note = Note(item.note.id, text)
    return dataclasses.replace(item, note=note, entities=tuple(entities))


def _draw(seed: int, number: int, note_id: str) -> float:
    """Give a number in [0, 1) that looks random and is always the same for the same three."""
    digest = blake2b(f"{seed} {number} {note_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} lies in [0, 1], got {value}")
