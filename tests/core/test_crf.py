"""What a CRF finds in notes, against every way there is to tag them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core import crf
from clin_edge.core.crf import CrfTables, find_entities
from clin_edge.core.decode import best_whole_words, log_softmax, tags_of_pieces
from clin_edge.core.encode import Encoded
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import Span

ONE, TWO, SEVEN = (LabelScheme(tuple("ABCDEFG"[:n])) for n in (1, 2, 7))
SEEDS = st.integers(0, 2**32 - 1)
RULES = {"first_pieces": st.booleans(), "constrained": st.booleans()}
EVERY_RULE = pytest.mark.parametrize("first_pieces", [False, True])
EITHER = pytest.mark.parametrize("constrained", [False, True])

Given = tuple[Encoded, np.ndarray]


def tables(rng, scheme: LabelScheme, scale: float = 1.0, **rules: bool) -> CrfTables:
    n_tags = len(scheme.tags)
    shapes = ((n_tags, n_tags), (n_tags,), (n_tags,))
    drawn = (rng.normal(0, scale, shape).astype(np.float32) for shape in shapes)
    return CrfTables(*drawn, **{"first_pieces": False, "constrained": True, **rules})


def note(rng, n_tokens: int, scheme: LabelScheme, scale: float = 2.0, whole: float = 0.6) -> Given:
    """A note of tokens of two characters with logits; about ``whole`` of them open a word."""
    starts = 3 * np.arange(n_tokens)
    offsets = np.stack([starts, starts + 2], axis=1).reshape(-1, 2)
    opens_word = rng.random(n_tokens) < whole
    encoded = Encoded("n", 3 * n_tokens, np.arange(n_tokens), offsets, opens_word, ())
    return encoded, rng.normal(0, scale, (n_tokens, len(scheme.tags))).astype(np.float32)


def every_tagging(
    encoded: Encoded, logits: np.ndarray, learnt: CrfTables, scheme: LabelScheme
) -> Iterator[tuple[tuple[int, ...], float]]:
    """The tags of a note's tokens, and their score: each way that the rules leave open."""
    first = encoded.opens_word | (np.arange(len(logits)) == 0)
    read = logits[first] if learnt.first_pieces else logits
    steps, start, end, read = (
        x.astype(np.float64) for x in (learnt.transitions, learnt.start, learnt.end, read)
    )
    for path in itertools.product(range(len(scheme.tags)), repeat=len(read)):
        tokens = path
        if learnt.first_pieces:
            tokens = tuple(tags_of_pieces(np.array(path), first).tolist())
        if learnt.constrained and not (obeys(path, scheme) and cuts_no_word(tokens, first)):
            continue
        score = start[path[0]] + end[path[-1]] + read[range(len(read)), path].sum()
        yield tokens, float(score + steps[path[:-1], path[1:]].sum())


def obeys(path: tuple[int, ...], scheme: LabelScheme) -> bool:
    """By the names of the tags: an I follows a B or I of its label."""
    names = ["O", *(scheme.tags[t] for t in path)]
    return all(
        not b.startswith("I-") or a in (f"B-{b[2:]}", b) for a, b in itertools.pairwise(names)
    )


def cuts_no_word(tokens: tuple[int, ...], first: np.ndarray) -> bool:
    """A piece that goes on with a word bears I of the label before it, or O after O."""
    return all(
        first[i] or tokens[i] == tokens[i - 1] + (tokens[i - 1] % 2) for i in range(1, len(tokens))
    )


def spans_of(tokens: tuple[int, ...], encoded: Encoded, scheme: LabelScheme) -> list:
    return [(s, label) for s, label, _ in scheme.spans(np.array(tokens, np.intp), encoded.offsets)]


@given(
    scheme=st.sampled_from([ONE, TWO]),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    seed=SEEDS,
    scale=st.sampled_from([0.3, 3.0, 1e4]),
    rules=st.fixed_dictionaries(RULES),
)
def test_spans_and_their_chances_are_those_of_all_ways_to_tag_a_note(
    scheme, lengths, seed, scale, rules
) -> None:
    """The spans of the best way; the chance of a span is that of all ways it is found in."""
    rng = np.random.default_rng(seed)
    learnt = tables(rng, scheme, scale if scale > 3 and seed % 2 else 1.0, **rules)
    longest = 5 if scheme is ONE else 3
    notes = [note(rng, min(n, longest), scheme, scale) for n in lengths]
    for (encoded, logits), entities in zip(
        notes, find_entities(notes, learnt, scheme), strict=True
    ):
        every = dict(every_tagging(encoded, logits, learnt, scheme))
        best = max(every, key=every.__getitem__)
        assert [(e.span, e.label) for e in entities] == spans_of(best, encoded, scheme)
        chances = dict.fromkeys(spans_of(best, encoded, scheme), 0.0)
        weights = np.exp(np.array(list(every.values())) - every[best])
        for tokens, chance in zip(every, weights / weights.sum(), strict=True):
            for span in spans_of(tokens, encoded, scheme):
                if span in chances:
                    chances[span] += chance
        assert [e.score for e in entities] == pytest.approx(list(chances.values()), abs=1e-9)


@EVERY_RULE
@EITHER
def test_what_is_found_in_a_note_depends_on_no_other(
    first_pieces, constrained, monkeypatch
) -> None:
    """To the last bit, whatever the order and however many are walked together."""
    for scheme, scale in ((TWO, 2.0), (SEVEN, 2.0), (SEVEN, 1e4)):
        rng = np.random.default_rng(5)
        learnt = tables(rng, scheme, first_pieces=first_pieces, constrained=constrained)
        sizes = [0, 1, 2, 0, 90, *rng.integers(1, 40, 25)]
        notes = [note(rng, int(n), scheme, scale) for n in sizes]
        together = find_entities(notes, learnt, scheme)
        assert sum(map(len, together)) > 100
        assert [find_entities([one], learnt, scheme) for one in notes] == [[es] for es in together]
        order = rng.permutation(len(notes)).tolist()
        for size in (1, 60 * len(scheme.tags), crf._LATTICE_SIZE):
            monkeypatch.setattr(crf, "_LATTICE_SIZE", size)
            shuffled = find_entities([notes[i] for i in order], learnt, scheme)
            assert shuffled == [together[i] for i in order]


@given(st.lists(st.integers(0, 12)), st.integers(1, 20))
def test_notes_are_walked_in_groups_of_bounded_size(lengths: list[int], at_most: int) -> None:
    groups = list(crf._longest_first(lengths, at_most))
    assert sorted(itertools.chain(*groups)) == [i for i, n in enumerate(lengths) if n]
    sizes = [sum(lengths[i] for i in group) for group in groups]
    assert all(n <= at_most or len(group) == 1 for n, group in zip(sizes, groups, strict=True))
    firsts = [lengths[group[0]] for group in groups[1:]]
    assert all(size + first > at_most for size, first in zip(sizes, firsts, strict=False))


def test_sums_over_all_ways_are_made_only_where_there_is_a_span(monkeypatch) -> None:
    summed: list[int] = []
    log_sums = crf.Lattice.log_sums

    def watched(lattice: crf.Lattice):
        summed.extend(lattice.lengths.tolist())
        return log_sums(lattice)

    monkeypatch.setattr(crf.Lattice, "log_sums", watched)
    rng = np.random.default_rng(2)
    notes = [note(rng, n, TWO, whole=1.0) for n in range(1, 30)]
    for encoded, logits in notes:
        logits[:, 0] += 30.0 if len(encoded.ids) % 3 else 0.0
    find_entities(notes, tables(rng, TWO), TWO)
    assert sorted(summed) == list(range(3, 30, 3))


@pytest.mark.parametrize("scale", [0.5, 3.0, 60.0])
def test_a_crf_that_has_learnt_nothing_finds_what_a_linear_head_finds(scale: float) -> None:
    rng = np.random.default_rng(3)
    for scheme in (ONE, TWO, SEVEN):
        learnt = tables(rng, scheme, 0.0)
        notes = [note(rng, int(n), scheme, scale) for n in rng.integers(1, 300, 20)]
        found = find_entities(notes, learnt, scheme)
        for (encoded, logits), entities in zip(notes, found, strict=True):
            tags = best_whole_words(log_softmax(logits), encoded.opens_word, scheme)
            assert [(e.span, e.label) for e in entities] == spans_of(tags, encoded, scheme)


def test_the_words_and_steps_of_a_note_by_hand() -> None:
    """Two words of which the second has two pieces; only the first piece of each is read."""
    encoded, _ = note(np.random.default_rng(0), 3, ONE)
    encoded.opens_word[:] = [True, True, False]
    logits = np.array([[0, 2, 0], [0, 0, 1], [50, 0, 0]], dtype=np.float32)
    nothing = CrfTables(*(np.zeros(n, np.float32) for n in ((3, 3), 3, 3)), True, True)
    (found,) = find_entities([(encoded, logits)], nothing, ONE)
    # O-O, O-B, B-O, B-B and B-I, with scores 0, 0, 2, 2 and 3.
    e = np.exp
    assert [(x.span, x.label) for x in found] == [(Span(0, 8), "A")]
    assert found[0].score == pytest.approx(e(3) / (2 + 2 * e(2) + e(3)))


@EVERY_RULE
@EITHER
def test_notes_without_a_token_hold_nothing(first_pieces, constrained) -> None:
    rng = np.random.default_rng(0)
    learnt = tables(rng, TWO, first_pieces=first_pieces, constrained=constrained)
    empty = note(rng, 0, TWO)
    assert find_entities([], learnt, TWO) == []
    assert find_entities([empty], learnt, TWO) == [[]]
    some = note(rng, 9, TWO)
    (alone,) = find_entities([some], learnt, TWO)
    assert find_entities([empty, some, empty], learnt, TWO) == [[], alone, []]


@pytest.mark.parametrize("wild", [1e3, 1e4, 3e38])
@EVERY_RULE
@EITHER
def test_scores_stay_chances_however_wild_the_numbers(first_pieces, constrained, wild) -> None:
    rng = np.random.default_rng(9)
    learnt = tables(rng, TWO, first_pieces=first_pieces, constrained=constrained)
    notes = [note(rng, 60, TWO) for _ in range(8)]
    for _, logits in notes:
        logits[:] = rng.choice([-wild, 0, 1, wild], logits.shape)
    found = [entity for entities in find_entities(notes, learnt, TWO) for entity in entities]
    assert len(found) > 50
    assert all(0 <= entity.score <= 1 for entity in found)
    assert max(entity.score for entity in found) > 0.4
