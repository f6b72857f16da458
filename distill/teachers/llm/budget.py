"""Ceilings on money and tokens that are kept before a request goes out, not after."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

Amount = tuple[Fraction, int]
"""USD, exactly, and tokens."""


class BudgetSpent(Exception):
    """What is left does not cover the next request: its note must be set aside."""


class Budget:
    """Keeps the sums of cost (USD) and tokens at or below their ceilings; ``None`` is no ceiling.

    True as long as no request takes more than was held for it; what one takes beyond that is
    counted, and the next ones find so much less. Threads may share a budget. Sums are exact.
    """

    def __init__(self, max_cost: float | None, max_tokens: int | None) -> None:
        _amount(max_cost or 0, max_tokens or 0)
        self._max_cost = math.inf if max_cost is None else Fraction(max_cost)
        self._max_tokens = math.inf if max_tokens is None else max_tokens
        self._changed = threading.Condition()
        self._settled: Amount = (Fraction(0), 0)
        self._held: Amount = (Fraction(0), 0)
        self._is_spent = False

    @property
    def cost(self) -> float:
        """USD settled so far."""
        return float(self._settled[0])

    @property
    def tokens(self) -> int:
        """Tokens settled so far."""
        return self._settled[1]

    @property
    def spent(self) -> bool:
        """Whether some request had to be refused; from then on all are."""
        return self._is_spent

    @contextmanager
    def hold(self, cost: float, tokens: int) -> Iterator[Hold]:
        """Keep room for a request that takes at most this; leaving without settling frees it.

        Waits while only requests under way stand against it, since they may take less than was
        held for them. So a thread must not ask for a second hold while it has one.

        Raises:
            BudgetSpent: If what is settled leaves no room, and from then on always.
        """
        need = _amount(cost, tokens)
        with self._changed:
            while not self._is_spent and not self._fits(_sum(self._settled, self._held, need)):
                if self._fits(_sum(self._settled, need)):
                    self._changed.wait()
                else:
                    self._is_spent = True
                    self._changed.notify_all()
            if self._is_spent:
                raise BudgetSpent("what is left of the budget does not cover the next request")
            self._held = _sum(self._held, need)
        hold = Hold()
        try:
            yield hold
        finally:
            with self._changed:
                self._held = (self._held[0] - need[0], self._held[1] - need[1])
                self._settled = _sum(self._settled, hold.taken)
                self._changed.notify_all()

    def _fits(self, amount: Amount) -> bool:
        return amount[0] <= self._max_cost and amount[1] <= self._max_tokens


class Hold:
    """Room kept for one request."""

    def __init__(self) -> None:
        self.taken: Amount = (Fraction(0), 0)

    def settle(self, cost: float, tokens: int) -> None:
        """Say what the request really took, in USD and tokens; counted when the hold is left."""
        self.taken = _amount(cost, tokens)


def _sum(*amounts: Amount) -> Amount:
    return sum((cost for cost, _ in amounts), Fraction(0)), sum(tokens for _, tokens in amounts)


def _amount(cost: float, tokens: int) -> Amount:
    if not (math.isfinite(cost) and cost >= 0 and tokens >= 0):
        raise ValueError("cost and tokens are finite and not below 0")
    return Fraction(cost), tokens
