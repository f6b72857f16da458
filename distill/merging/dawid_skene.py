"""How far to trust each teacher, learnt from where they agree, without gold labels.

Source: A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer error-rates using
the EM algorithm", Applied Statistics 28 (1979) 20-28, for two classes: a thing is an entity or not.
A teacher that has no vote on a thing is left out there.

The things are the clusters of ``merge`` and every word that no teacher marked. Those words hold the
false-alarm rates down to what they are, a share of all words. Without them the model has only what
somebody marked to go by, and may take one teacher's own finds for the class of what is false.

Weak Beta priors are added to the likelihood: counts of yes and no seen before the first vote. One
teacher alone, or two, cannot tell the model who is right; the priors then lean towards believing
them. They need more true things than misses: with fewer, all that a lone teacher says drifts
towards false.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# (yes, no) before the first vote: true things found and missed; false alarms and none; true, false.
PRIOR_SENSITIVITY = (1.5, 0.5)
PRIOR_FALSE_ALARM = (0.1, 0.9)
PRIOR_TRUE = (5.0, 1.0)
TOLERANCE = 1e-8
MAX_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Fit:
    """What the model learnt: how many things are true, and each teacher's two rates.

    ``objective`` is the log posterior density after each round, up to a constant; it never falls.
    """

    true_share: float
    sensitivity: Mapping[str, float]
    false_alarm: Mapping[str, float]
    objective: tuple[float, ...] = ()

    def posterior(self, backers: AbstractSet[str], voters: AbstractSet[str]) -> float:
        """Give the probability that a thing is true which, of ``voters``, ``backers`` marked."""
        log_odds = math.log(self.true_share) - math.log1p(-self.true_share)
        for teacher in sorted(voters):
            hit, alarm = self.sensitivity[teacher], self.false_alarm[teacher]
            if teacher in backers:
                log_odds += math.log(hit) - math.log(alarm)
            else:
                log_odds += math.log1p(-hit) - math.log1p(-alarm)
        return 0.5 + 0.5 * math.tanh(log_odds / 2)

    def weight(self, teacher: str) -> float:
        """Give the log odds by which the teacher's mark makes a thing more likely true."""
        return math.log(self.sensitivity[teacher]) - math.log(self.false_alarm[teacher])


def fit(votes: Mapping[tuple[frozenset[str], frozenset[str]], int]) -> Fit:
    """Fit the model by expectation maximisation, from each thing's share of votes on.

    Args:
        votes: How many things have these backers among these voters.
    """
    teachers = sorted({teacher for _, voters in votes for teacher in voters})
    patterns = sorted(votes, key=lambda pair: (sorted(pair[0]), sorted(pair[1])))
    shape = (len(patterns), len(teachers))
    yes = np.array([[t in b for t in teachers] for b, _ in patterns], float).reshape(shape)
    voted = np.array([[t in v for t in teachers] for _, v in patterns], float).reshape(shape)
    no = voted - yes
    counts = np.array([votes[pattern] for pattern in patterns], float)

    truth = yes.sum(axis=1) / np.maximum(voted.sum(axis=1), 1)
    objective: list[float] = []
    while True:
        is_true, is_false = counts * truth, counts * (1 - truth)
        share = _rate(is_true.sum(), is_false.sum(), PRIOR_TRUE)
        hit = _rate(is_true @ yes, is_true @ no, PRIOR_SENSITIVITY)
        alarm = _rate(is_false @ yes, is_false @ no, PRIOR_FALSE_ALARM)
        log_true = np.log(share) + yes @ np.log(hit) + no @ np.log1p(-hit)
        log_false = np.log1p(-share) + yes @ np.log(alarm) + no @ np.log1p(-alarm)
        log_either = np.logaddexp(log_true, log_false)
        truth = np.exp(log_true - log_either)
        objective.append(
            float(counts @ log_either)
            + _log_prior(share, PRIOR_TRUE)
            + _log_prior(hit, PRIOR_SENSITIVITY)
            + _log_prior(alarm, PRIOR_FALSE_ALARM)
        )
        close = len(objective) > 1 and objective[-1] - objective[-2] <= TOLERANCE * counts.sum()
        if close or len(objective) == MAX_ROUNDS:
            return Fit(
                float(share),
                dict(zip(teachers, hit.tolist(), strict=True)),
                dict(zip(teachers, alarm.tolist(), strict=True)),
                tuple(objective),
            )


def _rate(
    yes: NDArray[np.float64], no: NDArray[np.float64], prior: tuple[float, float]
) -> NDArray[np.float64]:
    """Give the most likely rate after ``yes`` and ``no`` and as many more as the prior says."""
    rate: NDArray[np.float64] = (yes + prior[0]) / (yes + no + sum(prior))
    return rate


def _log_prior(rate: NDArray[np.float64], prior: tuple[float, float]) -> float:
    return float(np.sum(prior[0] * np.log(rate) + prior[1] * np.log1p(-rate)))
