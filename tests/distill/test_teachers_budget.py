"""Ceilings: never passed, never a reason to wait for ever, and nothing refused that fits."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.distill.teachers.llm.budget import Budget, BudgetSpent


def take(budget: Budget, cost: float, tokens: int = 0) -> None:
    with budget.hold(cost, tokens) as hold:
        hold.settle(cost, tokens)


def test_what_is_settled_counts_and_what_is_left_is_freed() -> None:
    budget = Budget(1.0, 100)
    with budget.hold(1.0, 100) as hold:
        hold.settle(0.25, 40)
    with budget.hold(0.75, 60):
        pass
    with pytest.raises(KeyError), budget.hold(0.75, 60):
        raise KeyError
    with pytest.raises(KeyError), budget.hold(0.75, 60) as hold:  # noqa: PT012
        hold.settle(0.25, 10)  # billed, and then its answer was of no use
        raise KeyError
    assert (budget.cost, budget.tokens, budget.spent) == (0.5, 50, False)
    take(budget, 0.5, 50)
    assert (budget.cost, budget.tokens, budget.spent) == (1.0, 100, False)


@pytest.mark.parametrize("need", [(0.51, 1), (0.1, 51)])
def test_once_refused_all_are(need: tuple[float, int]) -> None:
    budget = Budget(1.0, 100)
    take(budget, 0.5, 50)
    with pytest.raises(BudgetSpent, match="does not cover"), budget.hold(*need):
        pytest.fail("let through")
    assert budget.spent
    with pytest.raises(BudgetSpent), budget.hold(0.0, 0):
        pytest.fail("let through")
    assert (budget.cost, budget.tokens) == (0.5, 50)


def test_no_ceiling_and_a_ceiling_of_nothing() -> None:
    free = Budget(None, None)
    take(free, 1e9, 10**15)
    assert not free.spent
    local = Budget(0.0, None)
    take(local, 0.0, 10**6)
    assert not local.spent
    with pytest.raises(BudgetSpent):
        take(local, 1e-9)
    only_tokens = Budget(None, 5)
    take(only_tokens, 1e9, 5)
    with pytest.raises(BudgetSpent):
        take(only_tokens, 0.0, 1)


def test_a_surplus_is_counted() -> None:
    budget = Budget(1.0, None)
    with budget.hold(0.25, 0) as hold:
        hold.settle(0.75, 0)
    take(budget, 0.25)
    with budget.hold(0.0, 0) as hold:
        hold.settle(0.5, 0)
    assert budget.cost == 1.5
    with pytest.raises(BudgetSpent):
        take(budget, 0.0)


def test_sums_are_exact() -> None:
    budget = Budget(0.1 * 1000, None)
    for _ in range(1000):
        try:
            take(budget, 0.1)
        except BudgetSpent:
            break
    # A thousand tenths are a little more than their product as floats: the last does not fit.
    assert 1000 * Fraction(0.1) > Fraction(0.1 * 1000)
    assert budget.cost <= 0.1 * 1000
    assert Fraction(budget.cost) == pytest.approx(Fraction(999) / 10)


@pytest.mark.parametrize(
    ("cost", "tokens"), [(-0.1, 0), (0.0, -1), (float("nan"), 0), (float("inf"), 0)]
)
def test_what_is_no_amount_is_refused(cost: float, tokens: int) -> None:
    budget = Budget(1.0, 10)
    with pytest.raises(ValueError, match="finite"):
        Budget(cost, tokens)
    with pytest.raises(ValueError, match="finite"), budget.hold(cost, tokens):
        pytest.fail("let through")
    with pytest.raises(ValueError, match="finite"), budget.hold(0.1, 1) as hold:
        hold.settle(cost, tokens)
    take(budget, 1.0, 10)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.booleans()), max_size=30),
    st.none() | st.integers(0, 40),
    st.none() | st.integers(0, 40),
)
def test_one_after_the_other_all_that_fits_is_let_through(
    wishes: list[tuple[int, int, bool]], max_cost: int | None, max_tokens: int | None
) -> None:
    budget = Budget(None if max_cost is None else max_cost / 8, max_tokens)
    cost = tokens = 0
    spent = False
    for wish_cost, wish_tokens, settles in wishes:
        fits = (max_cost is None or cost + wish_cost <= max_cost) and (
            max_tokens is None or tokens + wish_tokens <= max_tokens
        )
        spent = spent or not fits
        try:
            with budget.hold(wish_cost / 8, wish_tokens) as hold:
                if settles:
                    hold.settle(wish_cost / 8, wish_tokens)
                    cost, tokens = cost + wish_cost, tokens + wish_tokens
        except BudgetSpent:
            assert spent
        else:
            assert not spent
        assert (budget.cost * 8, budget.tokens, budget.spent) == (cost, tokens, spent)


# --- threads -------------------------------------------------------------------------------------


@contextmanager
def waiting(budget: Budget, n: int, cost: float) -> Iterator[list[str]]:
    """Run ``n`` threads that all wait for a hold; gives what became of them, whole on leaving."""
    fate: list[str] = []
    asleep = threading.Semaphore(0)
    wait = budget._changed.wait
    budget._changed.wait = lambda: (asleep.release(), wait())

    def ask() -> None:
        try:
            take(budget, cost)
            fate.append("let through")
        except BudgetSpent:
            fate.append("refused")

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
        assert asleep.acquire(timeout=10)
    assert fate == []
    yield fate
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("taken", "fate"),
    [(0.5, ["let through"]), (0.75, ["refused"]), (0.0, ["let through"]), (2.0, ["refused"])],
)
def test_a_request_waits_for_one_under_way(taken: float, fate: list[str]) -> None:
    budget = Budget(1.0, None)
    with ExitStack() as under_way:
        hold = under_way.enter_context(budget.hold(0.75, 0))
        with waiting(budget, 1, 0.5) as found:
            hold.settle(taken, 0)
            under_way.close()
    assert found == fate
    assert budget.spent == (fate == ["refused"])


def test_a_refusal_ends_all_waiting() -> None:
    budget = Budget(1.0, None)
    with ExitStack() as under_way:
        hold = under_way.enter_context(budget.hold(1.0, 0))
        with waiting(budget, 5, 0.25) as found, pytest.raises(BudgetSpent):
            take(budget, 1.5)
        assert found == ["refused"] * 5
        hold.settle(0.5, 0)
    assert budget.cost == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_many_threads_never_pass_the_ceilings(seed: int) -> None:
    rng = random.Random(seed)
    max_cost, max_tokens = rng.choice([3.0, 40.0, 1e9]), rng.choice([300, 4_000, 10**9])
    budget = Budget(max_cost, max_tokens)
    lock = threading.Lock()
    settled = [Fraction(0), 0]
    wishes = [
        (rng.random(), rng.randrange(100), rng.random(), rng.random() < 0.2) for _ in range(400)
    ]

    passed: list[bool] = []

    def work() -> None:
        while True:
            with lock:
                if not wishes:
                    return
                wish = wishes.pop()
            passed.append(ask(wish))

    def ask(wish: tuple[float, int, float, bool]) -> bool:
        cost, tokens, share, fails = wish
        try:
            with budget.hold(cost, tokens) as hold:
                if fails:
                    raise ConnectionError
                took = (cost * share, int(tokens * share))
                hold.settle(*took)
                with lock:
                    settled[0] += Fraction(took[0])
                    settled[1] += took[1]
                    # What goes out is under the ceiling at every moment, not just at the end.
                    assert settled[0] <= max_cost
                    assert settled[1] <= max_tokens
        except ConnectionError:
            return True
        except BudgetSpent:
            return False
        return True

    threads = [threading.Thread(target=work, daemon=True) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(passed) == 400
    assert (budget.cost, budget.tokens) == (float(settled[0]), settled[1])
    assert budget.spent == (not all(passed))
    if (max_cost, max_tokens) == (1e9, 10**9):
        assert not budget.spent
    if budget.spent:  # no request asks for more than 1 USD and 99 tokens
        assert budget.cost > max_cost - 1 or budget.tokens > max_tokens - 100
