"""A sender is patient with a busy server, for all threads at once, and never beyond the budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import TeacherError
from clin_edge.distill.teachers import SetAside
from clin_edge.distill.teachers.llm.budget import Budget
from clin_edge.distill.teachers.llm.client import Busy, Rejected, Reply, Request
from clin_edge.distill.teachers.llm.prices import Price
from clin_edge.distill.teachers.llm.sender import MAX_WAIT_S, Patience, Sender, Spent, bounds
from clin_edge.distill.teachers.llm.usage import Usage

REQUEST = Request("system", "user", {"type": "object"}, 100)
USED = Usage(60, 20, 10, 5)
GOOD = Reply("{}", usage=USED)
PRICE = Price(1.0, 0.5, 4.0)
MOST = bounds(REQUEST)
MOST_COST = PRICE.bound(MOST.input, MOST.output)
Step = Reply | Exception | Callable[[], Reply]


class Script:
    """A client that answers as written down, and well from then on."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.steps = list(steps)
        self.n_sent = 0
        self.lock = threading.Lock()

    def send(self, request: Request) -> Reply:
        assert request is REQUEST
        with self.lock:
            self.n_sent += 1
            step = self.steps.pop(0) if self.steps else GOOD
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step

    def close(self) -> None:
        self.steps = [AssertionError("closed")]


def sender(
    *steps: Step,
    max_cost: float | None = None,
    max_tokens: int | None = None,
    patience: Patience | None = None,
) -> tuple[Sender, Script]:
    script = Script(steps)
    budget = Budget(max_cost, max_tokens)
    return Sender("toy", script, budget, PRICE, patience or Patience()), script


def test_a_reply_comes_with_what_it_took() -> None:
    asked, _ = sender()
    assert asked.send(REQUEST) == (GOOD, Spent(USED, PRICE.cost(USED), 1))
    asked.send(REQUEST)
    assert asked.total == Spent(USED + USED, 2 * PRICE.cost(USED), 2)
    assert PRICE.cost(USED) == pytest.approx((40 * 1.0 + 20 * 0.5 + 10 * 4.0) / 1e6)


@pytest.mark.usefixtures("waits")
def test_a_reply_without_a_count_is_taken_at_the_most() -> None:
    asked, script = sender(Reply("{}"), Busy("torn", sent=True), Busy("busy"))
    most = Spent(MOST, MOST_COST, 1, 1)
    assert asked.send(REQUEST) == (Reply("{}"), most)
    asked.send(REQUEST)
    assert script.n_sent == 4
    assert asked.total == most + most + Spent(USED, PRICE.cost(USED), 1)


def test_it_waits_longer_and_longer(waits: list[float]) -> None:
    asked, script = sender(*[Busy("busy")] * 8, patience=Patience(8, 1.0))
    asked.send(REQUEST)
    assert script.n_sent == 9
    assert len(waits) == 8
    for waited, most in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert 0.5 * most - 0.1 <= waited <= most


def test_it_waits_as_long_as_it_is_asked_to(waits: list[float]) -> None:
    asked, _ = sender(
        Busy("busy", after_s=7.0), Busy("busy", after_s=0.0), Busy("busy", after_s=MAX_WAIT_S)
    )
    asked.send(REQUEST)
    assert waits == pytest.approx([7.0, MAX_WAIT_S], abs=0.5)


def test_an_absurd_wait_ends_the_run(waits: list[float]) -> None:
    asked, script = sender(Busy("busy", after_s=MAX_WAIT_S + 1))
    with pytest.raises(TeacherError, match=r"^toy: the server asks to wait 301 s; run again then"):
        asked.send(REQUEST)
    assert (script.n_sent, waits) == (1, [])


def test_a_wait_holds_for_every_thread(monkeypatch) -> None:
    waited: list[tuple[str, float]] = []
    both = threading.Barrier(2, timeout=10)
    asked, script = sender(Busy("busy", after_s=30.0))
    other = threading.Thread(target=lambda: asked.send(REQUEST), name="other")

    def wait(timeout: float) -> None:
        waited.append((threading.current_thread().name, timeout))
        if threading.current_thread() is not other:
            other.start()
        both.wait()
        monkeypatch.setattr(asked, "_not_before", 0.0)

    monkeypatch.setattr(asked._stop, "wait", wait)
    asked.send(REQUEST)
    other.join()
    assert [seconds for _, seconds in waited] == pytest.approx([30.0, 30.0], abs=1)
    assert waited[1][0] == "other"
    assert script.n_sent == 3


@pytest.mark.usefixtures("waits")
def test_patience_ends() -> None:
    asked, script = sender(*[Busy("status 500")] * 3, patience=Patience(2, 1.0))
    with pytest.raises(SetAside, match=r"^no answer: status 500$"):
        asked.send(REQUEST)
    assert script.n_sent == 3
    assert asked.send(REQUEST)[0] is GOOD


@pytest.mark.usefixtures("waits")
def test_three_in_a_row_without_an_answer_end_the_run() -> None:
    busy = Busy("status 500")
    asked, _ = sender(busy, busy, GOOD, busy, busy, busy, patience=Patience(0, 1.0))
    for _ in range(2):
        with pytest.raises(SetAside):
            asked.send(REQUEST)
    asked.send(REQUEST)
    for _ in range(2):
        with pytest.raises(SetAside):
            asked.send(REQUEST)
    with pytest.raises(TeacherError, match=r"^toy: no answer to 3 requests in a row \(status 500"):
        asked.send(REQUEST)


def test_what_is_rejected_is_set_aside_and_costs_nothing() -> None:
    asked, script = sender(Rejected("refused with status 400"), max_tokens=MOST.total)
    with pytest.raises(SetAside, match=r"^refused with status 400$"):
        asked.send(REQUEST)
    assert (script.n_sent, asked.total) == (1, Spent())
    asked.send(REQUEST)


@pytest.mark.parametrize("ceiling", ["cost", "tokens"])
def test_nothing_is_sent_that_could_pass_the_ceiling(ceiling: str) -> None:
    limits = {
        "cost": {"max_cost": MOST_COST + 2.5 * PRICE.cost(USED)},
        "tokens": {"max_tokens": MOST.total + 2 * USED.total},
    }[ceiling]
    asked, script = sender(**limits)  # type: ignore[arg-type]
    for _ in range(3):
        asked.send(REQUEST)
    for _ in range(2):
        with pytest.raises(SetAside, match=r"^the ceiling of cost or tokens is reached$"):
            asked.send(REQUEST)
    assert script.n_sent == 3


@pytest.mark.usefixtures("waits")
def test_what_may_have_been_billed_counts_against_the_ceiling() -> None:
    asked, script = sender(Busy("torn", sent=True), max_tokens=2 * MOST.total - 1)
    with pytest.raises(SetAside, match="ceiling"):
        asked.send(REQUEST)
    assert script.n_sent == 1


def until(true: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_stop_wakes_those_that_wait(monkeypatch) -> None:
    asked, script = sender(Busy("busy", after_s=200.0))
    waiting = threading.Event()
    real = asked._stop.wait

    def wait(timeout: float) -> bool:
        waiting.set()
        return real(timeout)

    monkeypatch.setattr(asked._stop, "wait", wait)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(asked.send, REQUEST) for _ in range(2)]
        assert waiting.wait(10)
        asked.stop()
        reasons = [future.exception(timeout=10) for future in futures]
    assert "the run was stopped" in [str(reason) for reason in reasons]
    assert script.n_sent <= 2
    with pytest.raises(SetAside, match="the run was stopped"):
        asked.send(REQUEST)


def test_stop_reaches_those_that_wait_for_room_in_the_budget() -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slow() -> Reply:
        under_way.set()
        assert go_on.wait(10)
        return GOOD

    asked, script = sender(slow, max_tokens=MOST.total + USED.total)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(asked.send, REQUEST)
        assert under_way.wait(10)
        waiting = asked._budget._changed._waiters
        second = pool.submit(asked.send, REQUEST)
        until(lambda: waiting)  # until it has asked for room
        asked.stop()
        go_on.set()
        assert first.result(10)[0] is GOOD
        assert str(second.exception(10)) == "the run was stopped"
    assert script.n_sent == 1


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 10**6))
def test_no_text_takes_more_tokens_than_the_bound(text: str, most: int) -> None:
    bound = bounds(Request("", text, {}, most))
    assert bound.input >= len(text.encode())
    assert bound.output == most


def test_a_server_that_was_never_there_ends_the_run_at_once(waits: list[float]) -> None:
    asked, script = sender(Busy("no connection"))
    with pytest.raises(TeacherError, match=r"^toy: no connection to its server; check"):
        asked.send(REQUEST)
    assert (script.n_sent, waits) == (1, [])


@pytest.mark.parametrize("before", [GOOD, Busy("status 500")])
@pytest.mark.usefixtures("waits")
def test_one_that_was_there_is_waited_for(before: Reply | Busy) -> None:
    asked, script = sender(before, Busy("no connection"), Busy("no connection"))
    for _ in range(2):
        assert asked.send(REQUEST)[0] is GOOD
    assert not script.steps
