"""Several teachers' labels of a note made one: which entities mean the same, and which to keep.

**Clusters.** Entities that overlap and may bear one label mean the same thing (``A|B`` may be A or
B). The span that most teachers give exactly, else the longest, else the leftmost, is a head; every
entity that overlaps it and may bear its label backs it and is used up, so no chain of overlaps
grows. Among what is left the next head is sought. A cluster's label is what all its backers allow:
``DISEASE|SYMPTOM`` and ``SYMPTOM`` make ``SYMPTOM``.

**Voters** of a cluster are its backers and every other teacher that has the note and marks its
label (all of them, for ``A|B``). The silence of any other teacher says nothing.

**Rules.** ``union`` keeps every cluster, ``intersection`` those that all voters back, ``majority``
those that more than half of the voters back, each with the head's span. ``dawid-skene`` keeps those
whose posterior is at least a half (see ``dawid_skene``), with the span for which the backers' log
odds (sensitivity over false alarms) add up to most.

**Overlaps** of kept clusters: the one with the better score (share of voters, or posterior) stays,
then the longer, then the earlier; the other goes entirely. So a merged note never overlaps itself,
and what ``intersection`` keeps ``majority`` keeps, and what that keeps ``union`` keeps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from clin_edge.core.labelled import Labelled
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill.merging.dawid_skene import Fit, fit

UNION, INTERSECTION, MAJORITY, DAWID_SKENE = "union", "intersection", "majority", "dawid-skene"
RULES = (UNION, INTERSECTION, MAJORITY, DAWID_SKENE)

Said = Mapping[str, Labelled]
"""What each teacher, by name, says of one note; a teacher that does not have it is absent."""

Fits = Mapping[str, Fit]
"""By single label, what Dawid and Skene's model learnt of the teachers."""


_FLOORS: Mapping[str, Callable[[Entity], bool]] = {
    UNION: lambda entity: entity.score > 0,
    INTERSECTION: lambda entity: entity.score == 1,
    MAJORITY: lambda entity: entity.score > 0.5,
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Entities that mean the same: the head's span, a label, who backs it, who could have.

    ``backers`` gives each backing teacher's own entity: the one with the head's span if it has
    one, else its first.
    """

    span: Span
    label: str
    backers: Mapping[str, Entity]
    voters: frozenset[str]

    @property
    def share(self) -> float:
        """Share of the voters that back it."""
        return len(self.backers) / len(self.voters)

    @property
    def source(self) -> str:
        """The backers with their codes, joined by ``+``."""
        return "+".join(_named(name, self.backers[name].source) for name in sorted(self.backers))


def find_clusters(said: Said) -> list[Cluster]:
    """Gather what the teachers say of one note into clusters."""
    candidates = [
        _Candidate(teacher, entity, frozenset(alternatives(entity.label)))
        for teacher, item in said.items()
        for entity in item.entities
    ]
    candidates.sort(key=lambda c: (c.entity.span.start, c.entity.span.end))
    covered = {teacher: item.covered for teacher, item in said.items()}
    clusters = []
    for block in _blocks(candidates):
        for span, meant, backers in _backed(block):
            voters = frozenset(
                t for t, labels in covered.items() if meant <= labels or t in backers
            )
            clusters.append(Cluster(span, "|".join(sorted(meant)), backers, voters))
    return clusters


def merge_notes(
    notes: Mapping[str, Said], rules: Iterable[str]
) -> dict[str, dict[str, tuple[Entity, ...]]]:
    """Merge every note (by id) under each of the rules; gives entities by rule and id.

    Dawid and Skene's model is fitted on these notes. The entities of a note do not overlap and
    stand in text order. Their score is the share of voters or the posterior (of ``A|B``: the
    higher of the two), their source the backers with their codes.

    Raises:
        ValueError: If a rule is none of ``RULES``.
    """
    rules = list(rules)
    for rule in rules:
        if rule not in RULES:
            raise ValueError(f"no such rule: {rule!r}; expected one of {', '.join(RULES)}")
    clusters = {note_id: find_clusters(said) for note_id, said in notes.items()}
    # No rule but Dawid and Skene's changes a share, so one removal of overlaps serves them all.
    by_share = {note_id: apart(map(_by_share, found)) for note_id, found in clusters.items()}
    merged = {
        rule: {i: tuple(filter(_FLOORS[rule], found)) for i, found in by_share.items()}
        for rule in rules
        if rule != DAWID_SKENE
    }
    if DAWID_SKENE in rules:
        fits = fit_clusters((notes[note_id], found) for note_id, found in clusters.items())
        merged[DAWID_SKENE] = {
            note_id: apart(filter(_likely, (_by_posterior(c, fits) for c in found)))
            for note_id, found in clusters.items()
        }
    return merged


def fit_clusters(notes: Iterable[tuple[Said, Iterable[Cluster]]]) -> Fits:
    """Fit Dawid and Skene's model for every single label.

    It sees every cluster that may bear the label, and every word outside these, to which all that
    mark the label said no.
    """
    votes: dict[str, Counter[tuple[frozenset[str], frozenset[str]]]] = defaultdict(Counter)
    for said, clusters in notes:
        text = next(iter(said.values())).note.text if said else ""
        words = Counter(dict.fromkeys(_all_covered(said), len(text.split())))
        for cluster in clusters:
            for label in alternatives(cluster.label):
                votes[label][frozenset(cluster.backers), cluster.voters] += 1
                words[label] -= len(text[cluster.span.start : cluster.span.end].split())
        for label, n_left in words.items():
            if n_left > 0:
                voters = frozenset(t for t, item in said.items() if label in item.covered)
                votes[label][frozenset(), voters] += n_left
    return {label: fit(votes[label]) for label in sorted(votes)}


def apart(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Drop what overlaps a better entity: of higher score, else longer, else earlier."""
    kept: list[Entity] = []
    for entity in sorted(
        entities, key=lambda e: (-e.score, e.span.start - e.span.end, e.span.start, e.label)
    ):
        at = bisect_left(kept, entity.span.end, key=lambda e: e.span.start)
        if at == 0 or kept[at - 1].span.end <= entity.span.start:
            kept.insert(at, entity)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class _Candidate:
    teacher: str
    entity: Entity
    meant: frozenset[str]


def _blocks(candidates: Iterable[_Candidate]) -> Iterator[list[_Candidate]]:
    """Cut candidates in text order where none overlaps the next: no cluster reaches further."""
    block: list[_Candidate] = []
    end = 0
    for c in candidates:
        if block and c.entity.span.start >= end:
            yield block
            block = []
        block.append(c)
        end = max(end, c.entity.span.end)
    if block:
        yield block


def _backed(left: list[_Candidate]) -> Iterator[tuple[Span, frozenset[str], dict[str, Entity]]]:
    """Yield the clusters of one block: head, what its label may be, the backers' entities."""
    for span, label in _heads(left):
        if not any(c.entity.span == span and label in c.meant for c in left):
            continue
        joined: list[_Candidate] = []
        others: list[_Candidate] = []
        for c in left:
            fits = label in c.meant and c.entity.span.overlaps(span)
            (joined if fits else others).append(c)
        left = others
        joined.sort(key=lambda c: (c.entity.span != span, c.entity))
        backers: dict[str, Entity] = {}
        for c in joined:
            backers.setdefault(c.teacher, c.entity)
        yield span, frozenset.intersection(*(c.meant for c in joined)), backers


def _heads(candidates: list[_Candidate]) -> list[tuple[Span, str]]:
    """Rank every (span, single label) that some teacher gives, best-backed first."""
    exact: dict[tuple[Span, str], set[str]] = defaultdict(set)
    for c in candidates:
        for label in c.meant:
            exact[c.entity.span, label].add(c.teacher)

    def rank(head: tuple[Span, str]) -> tuple[int, int, int, int, str]:
        span, label = head
        # One span, two labels: the one that more teachers back by any overlapping span.
        near = {c.teacher for c in candidates if label in c.meant and c.entity.span.overlaps(span)}
        return -len(exact[head]), span.start - span.end, span.start, -len(near), label

    return sorted(exact, key=rank)


def _by_share(cluster: Cluster) -> Entity:
    return Entity(cluster.span, cluster.label, cluster.share, cluster.source)


def _by_posterior(cluster: Cluster, fits: Fits) -> Entity:
    posterior, label = max(
        (fits[label].posterior(cluster.backers.keys(), cluster.voters), label)
        for label in alternatives(cluster.label)
    )
    weights: dict[Span, float] = defaultdict(float)
    for teacher, entity in sorted(cluster.backers.items()):
        weights[entity.span] += fits[label].weight(teacher)
    span = min(weights, key=lambda span: (-weights[span], span.start - span.end, span.start))
    return Entity(span, cluster.label, posterior, cluster.source)


def _likely(entity: Entity) -> bool:
    return entity.score >= 0.5


def _all_covered(said: Said) -> frozenset[str]:
    return frozenset(label for item in said.values() for label in item.covered)


def _named(teacher: str, source: str) -> str:
    """Give ``teacher:code``; a source that does not begin with its teacher's name is all code."""
    if source == teacher or source.startswith(f"{teacher}:"):
        return source
    return f"{teacher}:{source}" if source else teacher
