"""Best paths and sums over paths, against every path there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.lattice import Lattice

FORBIDDEN = -1e300
ZEROS = np.zeros(7, dtype=np.intp)


def lattice_of(rng: np.random.Generator, lengths, n_tags: int, n_kinds: int, scale: float = 1.0):
    """Scores in eighths: their sums are exact, and equal sums are common."""

    def draw(*shape: int) -> np.ndarray:
        return np.round(rng.normal(0, 8 * scale, shape)) / 8

    steps = draw(n_tags, n_tags, n_kinds)
    # Some steps may not be, but each tag has one to it and one from it.
    steps[rng.random(steps.shape) < 0.2] = FORBIDDEN
    for a in range(n_tags):
        steps[a, a] = draw(n_kinds)
    n_units = int(np.sum(lengths))
    kinds = rng.integers(0, n_kinds, n_units)
    return Lattice(draw(n_tags, n_units), np.array(lengths), steps, kinds)


def chains(lattice: Lattice, values: np.ndarray) -> list[np.ndarray]:
    """Cut what has one number (or column) a unit into its chains."""
    return np.split(values, np.cumsum(lattice.lengths)[:-1], axis=-1)


def every_path(scores: np.ndarray, kinds: np.ndarray, steps: np.ndarray) -> dict[tuple, float]:
    """The score of every path through one chain that takes no forbidden step."""
    n_tags, n_units = scores.shape
    found = {}
    for path in itertools.product(range(n_tags), repeat=n_units):
        onward = [steps[a, b, k] for a, b, k in zip(path, path[1:], kinds.tolist(), strict=False)]
        if FORBIDDEN not in onward:
            found[path] = float(sum(onward) + scores[path, range(n_units)].sum())
    return found


SIZES = {"n_tags": st.integers(3, 4), "n_kinds": st.integers(1, 3)}
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


@given(LENGTHS, SEEDS, st.sampled_from([0.1, 1.0, 64.0]), st.fixed_dictionaries(SIZES))
def test_best_paths_are_the_best_of_all_paths(lengths, seed, scale, sizes) -> None:
    lattice = lattice_of(np.random.default_rng(seed), lengths, **sizes, scale=scale)
    parts = [chains(lattice, x) for x in (lattice.best_paths(), lattice.scores, lattice.kinds)]
    for path, scores, kinds in zip(*parts, strict=True):
        every = every_path(scores, kinds, lattice.steps)
        highest = max(every.values())
        equals = [p[::-1] for p, total in every.items() if total == highest]
        assert tuple(path.tolist())[::-1] == min(equals)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_paths_give_way_to_the_lowest_tags(kind) -> None:
    lattice = Lattice(np.zeros((3, 7), kind), np.array([4, 1, 2]), np.zeros((3, 3, 1), kind), ZEROS)
    assert lattice.best_paths().tolist() == [0] * 7


def log_sum(values: list[float]) -> float:
    return float(np.logaddexp.reduce(np.array([-np.inf, *values])))


@given(LENGTHS, SEEDS, st.sampled_from([0.1, 1.0, 1e3, 1e4]), st.fixed_dictionaries(SIZES))
def test_sums_are_those_over_all_paths(lengths, seed, scale, sizes) -> None:
    """Both give the sum over all paths of a chain; together, the chance of each tag."""
    lattice = lattice_of(np.random.default_rng(seed), lengths, **sizes, scale=scale)
    so_far, onward = lattice.log_sums()
    parts = [chains(lattice, x) for x in (so_far, onward, lattice.scores, lattice.kinds)]
    for ahead, behind, scores, kinds in zip(*parts, strict=True):
        every = every_path(scores, kinds, lattice.steps)
        total = log_sum(list(every.values()))
        close = {"rel": 1e-12, "abs": 1e-9}
        assert np.logaddexp.reduce(ahead[:, -1]) == pytest.approx(total, **close)
        assert np.logaddexp.reduce(behind[:, 0]) == pytest.approx(total, **close)
        chances = np.exp(ahead + behind - scores - total)
        for tag, place in np.ndindex(scores.shape):
            of_tag = log_sum([s for path, s in every.items() if path[place] == tag])
            assert chances[tag, place] == pytest.approx(np.exp(of_tag - total), abs=1e-6)


def test_what_no_float_could_hold_is_still_summed() -> None:
    """The likely tags of the first unit lead nowhere: what counts is e^-3000 beside them."""
    scores = np.array([[0.0, -3000.0], [-3000.0, 2.0], [-3001.0, 1.0]])
    steps = np.full((3, 3, 1), FORBIDDEN)
    steps[0, 0] = steps[1, 1] = steps[2, 1] = steps[2, 2] = 0.0
    so_far, _ = Lattice(scores, np.array([2]), steps, ZEROS[:2]).log_sums()
    expected = [-3000.0, -3000 + 2 + np.log1p(np.exp(-1)), -3000.0]
    assert so_far[:, 1].tolist() == pytest.approx(expected, abs=1e-9)


@given(SEEDS, st.sampled_from([1.0, 1e4]), st.sampled_from([3, 7, 15, 19]), st.integers(1, 2))
def test_a_chain_gives_the_same_bits_in_any_company(seed, scale, n_tags, n_kinds) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, int(rng.integers(1, 12)))
    lattice = lattice_of(rng, lengths, n_tags, n_kinds, scale)
    together = [lattice.best_paths(), *lattice.log_sums()]
    company = rng.permutation(len(lengths))[: int(rng.integers(1, len(lengths) + 1))]
    alone = [np.array([b]) for b in company[:2]]
    for some in (company, *alone):
        units = np.concatenate(
            [np.arange(lengths.sum())[sum(lengths[:b]) :][: lengths[b]] for b in some]
        )
        part = Lattice(lattice.scores[:, units], lengths[some], lattice.steps, lattice.kinds[units])
        for expected, found in zip(together, [part.best_paths(), *part.log_sums()], strict=True):
            assert found.tobytes() == expected[..., units].tobytes()


@given(LENGTHS, SEEDS)
def test_some_chains_of_a_lattice_are_a_lattice(lengths, seed) -> None:
    rng = np.random.default_rng(seed)
    lattice = lattice_of(rng, lengths, 3, 2)
    wanted = rng.random(len(lengths)) < 0.5
    wanted[rng.integers(0, len(lengths))] = True
    paths = chains(lattice, lattice.best_paths())
    part = lattice.only(wanted)
    assert part.lengths.tolist() == [n for n, w in zip(lengths, wanted, strict=True) if w]
    expected = [path.tolist() for path, w in zip(paths, wanted, strict=True) if w]
    assert [path.tolist() for path in chains(part, part.best_paths())] == expected
