"""What differs between two answers: every span counted once, as many pairs as there can be."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from clin_edge.core.batching import Batch, Session
from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.score import resamples, score
from clin_edge.core.spans import Entity
from clin_edge.runtime.diff import Changes, Diff, Limits, compare, diff_bundles
from clin_edge.runtime.diff_pairs import pair_spans
from clin_edge.runtime.pipeline import Pipeline
from score_cases import LABELS, Place, entities, some_entities
from toy import toy_bundle, toy_logits

N_CHARS = 12
Side = Sequence[Entity]


def sides(*, overlapping: bool) -> SearchStrategy[tuple[list[Entity], list[Entity]]]:
    """Two answers to one note."""
    return st.tuples(*[some_entities(overlapping=overlapping)] * 2)


ANY = st.one_of(sides(overlapping=True), sides(overlapping=False))
CORPORA = st.lists(ANY, min_size=1, max_size=4)


def places(side: Side) -> set[Place]:
    return {(e.span.start, e.span.end, e.label) for e in side}


def numbered(corpus: Sequence[tuple[Side, Side]]) -> list[tuple[str, Side, Side]]:
    return [(f"n{i}", old, new) for i, (old, new) in enumerate(corpus)]


def of(corpus: Sequence[tuple[Side, Side]], n_worst: int = 10) -> Diff:
    return compare(numbered(corpus), LABELS, LABELS, n_worst=n_worst, n_resamples=15)


# --- counts --------------------------------------------------------------------------------------


@given(CORPORA)
def test_counts_add_up_by_label_and_in_all(corpus) -> None:
    found = of(corpus)
    olds, news = (
        Counter(label for both in corpus for *_, label in places(both[side])) for side in (0, 1)
    )
    for label in LABELS:
        changes = found.by_label[label].changes
        assert (changes.old, changes.new) == (olds[label], news[label])
        for column, counted in ((0, changes.relabelled_out), (1, changes.relabelled_in)):
            cells = found.relabelled.items()
            assert counted == sum(count for pair, count in cells if pair[column] == label)
    total = found.total.changes
    assert (total.old, total.new) == (olds.total(), news.total())
    for name in Changes.__slots__:
        rows = found.by_label.values()
        assert getattr(total, name) == sum(getattr(row.changes, name) for row in rows)
    assert total.relabelled_out == total.relabelled_in == sum(found.relabelled.values())
    assert found.n_notes == len(corpus)
    assert found.n_changed == sum(places(old) != places(new) for old, new in corpus)


@given(CORPORA)
def test_agreement_is_the_span_f1_of_the_scorer(corpus) -> None:
    gold = [
        Labelled(Note(f"n{i}", "x" * N_CHARS), tuple(old), frozenset(LABELS))
        for i, (old, _) in enumerate(corpus)
    ]
    scores = score(gold, {f"n{i}": new for i, (_, new) in enumerate(corpus)}, n_resamples=1)
    found = of(corpus)
    pairs = [
        (found.total, scores.micro),
        *((found.by_label[x], scores.by_label[x]) for x in LABELS),
    ]
    for ours, theirs in pairs:
        if ours.changes.old + ours.changes.new:
            assert ours.changes.agreement == pytest.approx(theirs.counts.f1, abs=1e-12)
        else:
            assert ours.changes.agreement == 1.0


def test_the_interval_is_that_of_a_bootstrap_done_by_hand() -> None:
    rng = np.random.default_rng(5)
    corpus = []
    for _ in range(12):
        old = [(10 * k, 10 * k + 5, LABELS[k % 3]) for k in range(rng.integers(0, 6))]
        # Some are lost, some moved, some relabelled.
        new = [
            (
                start,
                end + (rng.random() < 0.2),
                LABELS[rng.integers(3)] if rng.random() < 0.3 else x,
            )
            for start, end, x in old
            if rng.random() < 0.8
        ]
        corpus.append((entities(*old), entities(*new)))
    found = compare(numbered(corpus), LABELS, LABELS, n_resamples=205)
    for label in (None, *LABELS):
        sizes = []
        for old, new in corpus:
            kept = [{p for p in places(side) if label in (None, p[2])} for side in (old, new)]
            sizes.append((len(kept[0] & kept[1]), len(kept[0]) + len(kept[1])))
        drawn = []
        for seed, size in enumerate([10] * 20 + [5]):
            for weights in resamples(len(corpus), size, seed):
                same, both = (
                    sum(w * n[i] for w, n in zip(weights, sizes, strict=True)) for i in (0, 1)
                )
                drawn.append(2 * same / both if both else 1.0)
        row = found.total if label is None else found.by_label[label]
        assert [row.low, row.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
        assert row.low < row.changes.agreement < row.high


@given(CORPORA)
def test_exchanged_bundles_give_the_mirror_image(corpus) -> None:
    there, back = of(corpus), of([(new, old) for old, new in corpus])
    mirror = {"lost": "gained", "relabelled_out": "relabelled_in", "old": "new"}
    mirror |= {theirs: ours for ours, theirs in mirror.items()}
    for label in LABELS:
        ours, theirs = there.by_label[label].as_dict(), back.by_label[label].as_dict()
        assert ours == {name: theirs[mirror.get(name, name)] for name in ours}
    assert there.relabelled == {(a, b): count for (b, a), count in back.relabelled.items()}
    assert [note.id for note in there.worst] == [note.id for note in back.worst]


@given(CORPORA)
def test_a_bundle_and_itself_have_only_what_is_the_same(corpus) -> None:
    found = of([(old, old) for old, _ in corpus])
    for row in (found.total, *found.by_label.values()):
        size = row.changes.same
        assert row.changes == Changes(size, 0, 0, 0, 0, 0)
        assert (row.changes.agreement, row.low, row.high) == (1.0, 1.0, 1.0)
    assert (found.worst, found.n_changed, found.relabelled) == ((), 0, {})


@given(CORPORA, st.integers(0, 5))
def test_the_worst_notes_are_named_with_what_changed(corpus, n_worst: int) -> None:
    told = []
    for note_id, old, new in numbered(corpus):
        pairs = pair_spans(old, new)
        kinds = pairs.moved, pairs.relabelled, pairs.lost, pairs.gained
        told.append((note_id, *map(len, kinds)))
    told = sorted((one for one in told if sum(one[1:])), key=lambda one: -sum(one[1:]))
    worst = [(w.id, w.moved, w.relabelled, w.lost, w.gained) for w in of(corpus, n_worst).worst]
    assert worst == told[:n_worst]


def test_bundles_of_other_labels_are_compared_over_the_labels_of_both() -> None:
    old = entities((0, 3, "DISEASE"), (4, 6, "MEDICATION"))
    new = entities((0, 3, "ADE"), (4, 6, "MEDICATION"), (7, 9, "ROUTE"))
    found = compare([("n", old, new)], ("MEDICATION", "DISEASE"), ("ROUTE", "ADE", "MEDICATION"))
    assert list(found.by_label) == ["MEDICATION", "DISEASE", "ROUTE", "ADE"]
    assert (found.only_old, found.only_new) == (("DISEASE",), ("ROUTE", "ADE"))
    assert found.relabelled == {("DISEASE", "ADE"): 1}
    assert found.total.changes == Changes(1, 0, 1, 1, 0, 1)


def test_no_note_is_no_evidence() -> None:
    with pytest.raises(InputError, match="no note"):
        of([])


# --- limits --------------------------------------------------------------------------------------


def changed(n_same: int, n_lost: int, label: str = "DISEASE") -> tuple[Side, Side]:
    old = entities(*((2 * i, 2 * i + 1, label) for i in range(n_same + n_lost)))
    return old, old[:n_same]


def test_a_change_at_the_limit_passes_and_one_above_does_not() -> None:
    # 2 of 200 spans of both sides are not shared; 1 - 0.99 would be more than 0.01.
    old, new = changed(99, 1)
    at = of([(old, (*new, *entities((500, 501, "DISEASE"))))])
    assert at.total.changes.change == 0.01
    limits = Limits(0.01, 0.01)
    assert not limits.total_exceeded(at)
    assert limits.labels_exceeded(at) == ()
    above = of([changed(98, 3)])
    assert limits.total_exceeded(above)
    assert limits.labels_exceeded(above) == ("DISEASE",)


def test_a_label_is_judged_alone_from_100_spans_of_the_old_bundle_on() -> None:
    many = changed(900, 0, "SYMPTOM")
    for n_old, judged in ((99, ()), (100, ("DISEASE",))):
        found = of([many, changed(n_old - 10, 10)])
        assert not Limits(0.02, 0.02).total_exceeded(found)
        assert Limits(0.02, 0.02).labels_exceeded(found) == judged


@pytest.mark.parametrize("limit", [-0.01, 1.01, float("nan")])
def test_a_limit_is_a_share(limit: float) -> None:
    for wrong in ({"total": limit}, {"label": limit}):
        with pytest.raises(ValueError, match="from 0 to 1"):
            Limits(**wrong)


# --- bundles -------------------------------------------------------------------------------------


class Numpy(Session):
    """The toy network without an engine."""

    def run(self, batch: Batch):
        """Logits (B, T, C)."""
        return toy_logits(batch)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory):
    """A toy bundle, and one that has DISEASE and SYMPTOM in each other's place."""
    folder: Path = tmp_path_factory.mktemp("diff")
    other = LabelScheme(("MEDICATION", "SYMPTOM", "DISEASE"))
    return toy_bundle(folder / "old"), toy_bundle(folder / "new", scheme=other)


def pipelines(bundles, *batch_tokens: int) -> list[Pipeline]:
    pairs = zip(bundles, batch_tokens, strict=True)
    return [Pipeline(bundle, Numpy(), batch_tokens=tokens) for bundle, tokens in pairs]


def test_two_bundles_read_the_same_notes(bundles) -> None:
    notes = [Note("a", "fever and diabetes"), Note("b", "takes metformin"), Note("c", "")]
    found = diff_bundles(*pipelines(bundles, 16, 1024), notes)
    assert found.relabelled == {("DISEASE", "SYMPTOM"): 1, ("SYMPTOM", "DISEASE"): 1}
    assert found.total.changes == Changes(1, 0, 2, 2, 0, 0)
    assert (found.n_notes, found.n_changed) == (3, 1)
    assert [(note.id, note.relabelled) for note in found.worst] == [("a", 2)]


class Tracked(Note):
    """A note that can be seen to be forgotten."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("batch_tokens", [(1, 1), (1, 2), (2, 1)])
def test_few_notes_are_in_memory_at_a_time(bundles, batch_tokens) -> None:
    alive: weakref.WeakSet[Note] = weakref.WeakSet()
    most = 0

    def notes() -> Iterator[Note]:
        nonlocal most
        for i in range(300):
            note = Tracked(f"n{i}", "fever")
            alive.add(note)
            most = max(most, len(alive))
            yield note

    assert diff_bundles(*pipelines(bundles, *batch_tokens), notes()).n_notes == 300
    # The lookahead is 64 batches of `batch_tokens`; a note has one token and counts as one more.
    assert most <= 2 * 64 * max(batch_tokens)


@pytest.mark.parametrize("batch_tokens", [(1, 1), (1, 1024), (1024, 1)])
@pytest.mark.parametrize("n_good", [0, 31, 32, 33])
def test_notes_that_fail_fail_the_comparison(bundles, batch_tokens, n_good: int) -> None:
    def notes() -> Iterator[Note]:
        for i in range(n_good):
            yield Note(f"n{i}", "fever")
        raise InputError("n.jsonl:7: not JSON")

    with pytest.raises(InputError, match="not JSON"):
        diff_bundles(*pipelines(bundles, *batch_tokens), notes())


def test_a_result_shows_no_text(bundles) -> None:
    found = diff_bundles(*pipelines(bundles, 64, 64), [Note("a", "Zebulon has fever")])
    assert "Zebulon" not in f"{found!r} {found.as_dict()}"
    assert "fever" not in f"{found!r} {found.as_dict()}"
