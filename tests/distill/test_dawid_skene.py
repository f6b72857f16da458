"""Dawid and Skene's model: planted accuracies come back, the objective never falls, no 0/0."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clin_edge.distill.merging.dawid_skene import Fit, fit

TEACHERS = "abcd"
Votes = Counter[tuple[frozenset[str], frozenset[str]]]


def one_vote() -> st.SearchStrategy[tuple[frozenset[str], frozenset[str]]]:
    voters = st.frozensets(st.sampled_from(TEACHERS), min_size=1)
    return voters.flatmap(
        lambda v: st.tuples(st.frozensets(st.sampled_from(sorted(v))), st.just(v))
    )


some_votes = st.dictionaries(one_vote(), st.integers(1, 2000), max_size=12)


def simulated(
    n: int, share: float, rates: dict[str, tuple[float, float]], *, absent: float = 0.0
) -> tuple[Votes, list[tuple[bool, frozenset[str], frozenset[str]]]]:
    """Votes on things of known truth by teachers of known rates, who sometimes are absent."""
    rng = np.random.default_rng(0)
    things = []
    for true in rng.random(n) < share:
        voters = frozenset(name for name in rates if rng.random() >= absent)
        backers = frozenset(n for n in sorted(voters) if rng.random() < rates[n][0 if true else 1])
        things.append((bool(true), backers, voters))
    return Counter((backers, voters) for _, backers, voters in things), things


@settings(max_examples=30)
@given(some_votes)
def test_the_objective_never_falls_and_the_posterior_is_bayes_rule(votes) -> None:
    found = fit(votes)
    objective = np.array(found.objective)
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()
    rates = [found.true_share, *found.sensitivity.values(), *found.false_alarm.values()]
    assert all(0 < rate < 1 for rate in rates)
    for backers, voters in votes:
        true, false = found.true_share, 1 - found.true_share
        for t in voters:
            hit, alarm = found.sensitivity[t], found.false_alarm[t]
            true *= hit if t in backers else 1 - hit
            false *= alarm if t in backers else 1 - alarm
        assert found.posterior(backers, voters) == pytest.approx(true / (true + false), abs=1e-9)


RATES = {"a": (0.9, 0.02), "b": (0.7, 0.05), "c": (0.5, 0.01), "d": (0.8, 0.1)}


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_planted_rates_come_back(absent: float) -> None:
    votes, things = simulated(20_000, 0.2, RATES, absent=absent)
    found = fit(votes)
    assert found.true_share == pytest.approx(0.2, abs=0.015)
    for teacher, (hit, alarm) in RATES.items():
        assert found.sensitivity[teacher] == pytest.approx(hit, abs=0.03)
        assert found.false_alarm[teacher] == pytest.approx(alarm, abs=0.015)
    # Its verdicts beat the majority's.
    right = sum((found.posterior(b, v) >= 0.5) == true for true, b, v in things)
    by_majority = sum((2 * len(b) > len(v)) == true for true, b, v in things)
    assert right > by_majority


def test_better_teachers_weigh_more() -> None:
    votes, _ = simulated(5_000, 0.2, {"a": (0.9, 0.01), "b": (0.6, 0.2), "c": (0.8, 0.05)})
    found = fit(votes)
    assert found.weight("a") > found.weight("c") > found.weight("b") > 0


@pytest.mark.parametrize("n_marked", [1, 3, 30, 3_000, 100_000])
@pytest.mark.parametrize("n_words", [0, 1, 100, 1_000_000])
@pytest.mark.parametrize("n_teachers", [1, 3])
def test_who_never_disagrees_is_believed(n_teachers: int, n_marked: int, n_words: int) -> None:
    """One teacher, or several that always agree: the priors keep their finds from drifting off."""
    everyone = frozenset(TEACHERS[:n_teachers])
    votes = {(everyone, everyone): n_marked}
    if n_words:
        votes[frozenset(), everyone] = n_words
    assert fit(votes).posterior(everyone, everyone) > 0.9


def test_silence_of_the_absent_is_no_vote() -> None:
    ab, abc = frozenset("ab"), frozenset("abc")
    found = fit({(ab, ab): 50, (abc, abc): 50, (frozenset(), abc): 500, (ab, abc): 20})
    assert found.posterior(ab, ab) > found.posterior(ab, abc)


def test_no_votes_at_all_leave_the_priors() -> None:
    found = fit({})
    assert (found.sensitivity, found.false_alarm) == ({}, {})
    assert found.posterior(frozenset(), frozenset()) == pytest.approx(found.true_share)


def test_very_sure_is_one_and_not_an_overflow() -> None:
    many = [f"t{i}" for i in range(400)]
    sure = Fit(0.5, dict.fromkeys(many, 0.999), dict.fromkeys(many, 0.001))
    assert sure.posterior(frozenset(many), frozenset(many)) == 1.0
    assert sure.posterior(frozenset(), frozenset(many)) == 0.0
    assert math.isclose(sure.weight("t0"), math.log(999))
