"""Best paths against every path there is; entities and their scores from logits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.decode import (
    best_path,
    best_whole_words,
    log_softmax,
    read_entities,
    stitch,
)
from clin_edge.core.encode import Encoded
from clin_edge.core.labels import LabelScheme
from clin_edge.core.spans import Span
from clin_edge.core.windows import Window, plan_windows
from strategies import token_offsets

ONE, TWO, FIVE = (LabelScheme(tuple("ABCDE"[:n])) for n in (1, 2, 5))


def obeys(path: list[int], scheme: LabelScheme) -> bool:
    """By the names of the tags: an I follows a B or I of its label."""
    names = ["O", *(scheme.tags[t] for t in path)]
    return all(
        not b.startswith("I-") or a in (f"B-{b[2:]}", b) for a, b in itertools.pairwise(names)
    )


def total(scores: np.ndarray, path) -> float:
    return float(scores.astype(np.float64)[np.arange(len(path)), path].sum())


def exact_scores(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Scores in eighths: their sums are exact, and equal sums are common."""
    return (rng.integers(-40, 40, shape) / 8).astype(np.float32)


def searched_whole(scores: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    """Viterbi's algorithm over every token of the note, one after the other."""
    best = np.where(scheme.allowed_first, scores[0], -np.inf)
    back = []
    for row in scores[1:]:
        reach = np.where(scheme.allowed, best[:, None], -np.inf)
        back.append(reach.argmax(axis=0))
        best = reach.max(axis=0) + row
    path = [int(best.argmax())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    return np.array(path[::-1])


def tag_scores(kind: str, rng: np.random.Generator, n_tokens: int, scheme: LabelScheme):
    """Scores of several tempers: what a network sure of itself, unsure or wild may give."""
    n_tags = len(scheme.tags)
    scores = exact_scores(rng, n_tokens, n_tags)
    if kind == "wild":
        scores *= 512
    elif kind == "sure":  # mostly outside, with entities here and there
        scores[np.arange(n_tokens), rng.choice([0, 0, 0, *range(n_tags)], n_tokens)] += 12
    elif kind == "inside":  # long entities, begun wrongly more often than not
        scores[:, 2::2] += 3
    elif kind == "ties":
        scores = np.round(scores / 4)
    elif kind == "flat":
        scores[:] = 0
    return scores


KINDS = ["plain", "wild", "sure", "inside", "ties", "flat"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", [ONE, TWO, FIVE], ids=["C3", "C5", "C11"])
def test_cutting_a_note_into_pieces_finds_as_good_a_path_as_searching_it_whole(kind, scheme):
    """The scores are such that sums are exact, so the two sums must be the same number."""
    rng = np.random.default_rng(7)
    for n_tokens in [*range(1, 12), *rng.integers(12, 90, 12).tolist(), 300]:
        scores = tag_scores(kind, rng, n_tokens, scheme)
        path = best_path(scores, scheme)
        whole = searched_whole(scores, scheme)
        assert obeys(path.tolist(), scheme)
        assert total(scores, path) == total(scores, whole)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 300.0])
def test_the_path_is_the_same_where_one_is_clearly_best(scale: float) -> None:
    """With log-probabilities as they come: the same path, but where two are equal to rounding."""
    rng = np.random.default_rng(11)
    for n_tokens in rng.integers(2, 200, 30).tolist():
        scores = log_softmax(rng.normal(0, scale, (n_tokens, len(TWO.tags))).astype(np.float32))
        path = best_path(scores, TWO)
        whole = searched_whole(scores, TWO)
        assert obeys(path.tolist(), TWO)
        if path.tolist() != whole.tolist():
            assert total(scores, path) == pytest.approx(total(scores, whole), rel=1e-6)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_any_best_path_obeys_the_scheme(n_tokens: int, seed: int, kind: str) -> None:
    scores = tag_scores(kind, np.random.default_rng(seed), n_tokens, FIVE)
    assert obeys(best_path(scores, FIVE).tolist(), FIVE)


def test_no_tokens_have_no_path() -> None:
    assert best_path(np.empty((0, 5), np.float32), TWO).tolist() == []


def test_an_inside_that_was_never_begun_is_mended_at_least_cost() -> None:
    tags = {tag: i for i, tag in enumerate(ONE.tags)}
    #                    O     B-A   I-A
    scores = np.array([[0.0, -1.0, -9], [-2, -9, 0], [0, -9, -9]], dtype=np.float32)
    assert best_path(scores, ONE).tolist() == [tags["B-A"], tags["I-A"], tags["O"]]
    scores[0, 1] = -3.0
    assert best_path(scores, ONE).tolist() == [tags["O"], tags["O"], tags["O"]]


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 99), st.sampled_from([1.0, 50, 1e30]))
def test_log_softmax_gives_probabilities_that_sum_to_one(n_tokens, n_tags, seed, scale) -> None:
    logits = np.random.default_rng(seed).normal(0, scale, (n_tokens, n_tags)).astype(np.float32)
    found = log_softmax(logits)
    assert found.dtype == np.float32
    exact = logits.astype(np.float64)
    highest = exact.max(axis=1, keepdims=True)
    exact -= highest + np.log(np.exp(exact - highest).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


# --- stitching -----------------------------------------------------------------------------------


def encoded_of(offsets: list[tuple[int, int]], size: int = 6, overlap: int = 2) -> Encoded:
    places = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    windows = plan_windows(len(offsets), size=size, overlap=overlap)
    n_chars = max([end for _, end in offsets], default=0)
    words = np.ones(len(offsets), dtype=bool)
    return Encoded("n", n_chars, np.arange(len(offsets)), places, words, tuple(windows))


@given(st.integers(0, 60), st.integers(3, 9))
def test_stitched_rows_are_the_note_s_own_in_order(n_tokens: int, size: int) -> None:
    encoded = encoded_of([(i, i + 1) for i in range(n_tokens)], size=size)
    whole = np.arange(3 * n_tokens, dtype=np.float32).reshape(-1, 3)
    kept = [whole[w.keep_start : w.keep_end] for w in encoded.windows]
    assert stitch(encoded, kept, 3).tolist() == whole.tolist()


def test_rows_missing_or_too_many_are_refused() -> None:
    encoded = encoded_of([(i, i + 1) for i in range(10)])
    rows = [np.zeros((w.keep_end - w.keep_start, 3), np.float32) for w in encoded.windows]
    assert stitch(encoded, rows, 3).shape == (10, 3)
    for bad in (rows[:-1], [*rows, rows[0]], [rows[0][1:], *rows[1:]], [r[:, :2] for r in rows]):
        with pytest.raises(ValueError, match=r"rows of shape|zip\(\)"):
            stitch(encoded, bad, 3)


# --- entities ------------------------------------------------------------------------------------


@given(token_offsets(max_size=14), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 4.0, 60.0]))
def test_an_entity_is_as_sure_as_its_least_sure_token(offsets, seed: int, scale: float) -> None:
    encoded = encoded_of(offsets)
    rng = np.random.default_rng(seed)
    logits = (rng.normal(0, scale, (len(offsets), 5))).astype(np.float32)
    exact = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-9e9))
    chances = exact / exact.sum(axis=1, keepdims=True)
    path = best_path(log_softmax(logits), TWO)
    expected = [
        (span, label, min(chances[t, path[t]] for t in range(tokens.start, tokens.stop)))
        for span, label, tokens in TWO.spans(path, encoded.offsets)
    ]
    (found,) = read_entities([(encoded, logits)], TWO)
    assert [(e.span, e.label) for e in found] == [(span, label) for span, label, _ in expected]
    assert [e.score for e in found] == pytest.approx([p for _, _, p in expected], abs=1e-6)


def test_an_entity_that_crosses_from_one_window_into_the_next_is_one() -> None:
    encoded = encoded_of([(2 * i, 2 * i + 1) for i in range(10)])
    cut = encoded.windows[0].keep_end
    assert encoded.windows[1] == Window(4, 10, cut, 10)
    logits = np.full((10, 5), -5, dtype=np.float32)
    logits[:, 0] = 5
    logits[cut - 1, 1] = logits[cut, 2] = logits[cut + 1, 2] = 9
    ((entity,),) = read_entities([(encoded, logits)], TWO)
    assert (entity.span, entity.label) == (Span(2 * cut - 2, 2 * cut + 3), "A")


def cuts_no_word(path: list[int], opens_word: np.ndarray) -> bool:
    """A piece that goes on with a word bears I of the label before it, or O after O."""
    goes_on = [0, *((tag + 1 if tag % 2 else tag) for tag in path)]
    return all(
        o or tag == goes_on[i] for i, (tag, o) in enumerate(zip(path, opens_word, strict=True)) if i
    )


@given(
    scheme=st.sampled_from([ONE, TWO]),
    n_tokens=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_best_path_of_whole_words_is_the_best_of_all_that_cut_none(
    scheme, n_tokens, seed
) -> None:
    rng = np.random.default_rng(seed)
    n_tokens = min(n_tokens, 5 if scheme is TWO else 6)
    scores = exact_scores(rng, n_tokens, len(scheme.tags))
    opens_word = rng.random(n_tokens) < 0.5
    path = best_whole_words(scores, opens_word, scheme).tolist()
    assert obeys(path, scheme)
    assert cuts_no_word(path, opens_word)
    every = itertools.product(range(len(scheme.tags)), repeat=n_tokens)
    best = max(
        total(scores, list(p))
        for p in every
        if obeys(list(p), scheme) and cuts_no_word(list(p), opens_word)
    )
    assert total(scores, path) == best


@given(
    lengths=st.lists(st.integers(0, 30), max_size=6),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
)
def test_what_is_found_in_a_note_does_not_depend_on_those_it_is_decoded_with(
    lengths, seed, kind
) -> None:
    rng = np.random.default_rng(seed)
    notes = []
    for n_tokens in lengths:
        encoded = encoded_of([(2 * i, 2 * i + 1) for i in range(n_tokens)])
        encoded.opens_word[:] = rng.random(n_tokens) < 0.7
        notes.append((encoded, tag_scores(kind, rng, n_tokens, TWO)))
    assert read_entities(notes, TWO) == [read_entities([note], TWO)[0] for note in notes]
