"""Requests to a language model: patient with a busy server, and within a budget."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field

from clin_edge.core.errors import TeacherError
from clin_edge.distill.teachers import SetAside
from clin_edge.distill.teachers.llm.budget import Budget, BudgetSpent
from clin_edge.distill.teachers.llm.client import (
    NO_CONNECTION,
    Busy,
    Client,
    Rejected,
    Reply,
    Request,
)
from clin_edge.distill.teachers.llm.prices import Price
from clin_edge.distill.teachers.llm.usage import Usage

MAX_WAIT_S = 300.0
_MAX_BACKOFF_S = 60.0
_DOWN_AFTER = 3  # requests in a row that no try got an answer for
_FRAME_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Spent:
    """What replies took; ``cost`` is in US dollars.

    A reply whose server did not count its tokens, or that may have been billed though it never
    came, counts as the most it can have taken; ``uncounted`` says how many there were.
    """

    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    replies: int = 0
    uncounted: int = 0

    def __add__(self, other: Spent) -> Spent:
        """Count two together."""
        return Spent(
            self.usage + other.usage,
            self.cost + other.cost,
            self.replies + other.replies,
            self.uncounted + other.uncounted,
        )


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a busy or broken server is borne with.

    Attributes:
        retries: How often one request is sent again.
        backoff_s: The first wait before that, doubled each time up to a minute; a server that says
            how long to wait is believed, up to five minutes.
    """

    retries: int = 6
    backoff_s: float = 1.0


def bounds(request: Request) -> Usage:
    """Give the most tokens a request can take.

    No tokenizer makes more tokens than there are bytes; plain English prose, as prompts are, takes
    less than half as many.
    """
    ours = request.system + json.dumps(dict(request.schema))
    n_input = len(ours.encode()) // 2 + len(request.user.encode()) + _FRAME_TOKENS
    return Usage(input=n_input, output=request.max_output)


class Sender:
    """Sends the requests of one teacher; safe to call from several threads.

    ``total`` is what this run has taken so far.
    """

    def __init__(
        self, name: str, client: Client, budget: Budget, price: Price, patience: Patience
    ) -> None:
        self.price = price
        self.total = Spent()
        self._name = name
        self._client = client
        self._budget = budget
        self._patience = patience
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._down = 0
        self._reached = False

    def stop(self) -> None:
        """Let no thread wait or send any more."""
        self._stop.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, request: Request) -> tuple[Reply, Spent]:
        """Send until an answer comes; give it and what it took.

        Raises:
            SetAside: If the budget is spent, the server refuses this request or does not answer it.
            TeacherError: If it answers none, cannot be reached from the start, or asks for a wait
                beyond ``MAX_WAIT_S``.
        """
        backoff_s = self._patience.backoff_s
        left = self._patience.retries
        while True:
            self._wait()
            try:
                reply, spent = self._send_once(request)
            except Rejected as reason:
                raise SetAside(str(reason)) from None
            except Busy as busy:
                if str(busy) == NO_CONNECTION and not self._reached:
                    # Nobody has been there yet: a wrong address, most likely, not a bad moment.
                    raise TeacherError(
                        f"{self._name}: no connection to its server; check that it runs, and the "
                        "address given with --base-url"
                    ) from None
                self._reached = True
                if not left:
                    raise self._gave_up(str(busy)) from None
                self._hold_off(busy.after_s, backoff_s)
            else:
                with self._lock:
                    self._down = 0
                    self._reached = True
                return reply, spent
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            left -= 1

    def _send_once(self, request: Request) -> tuple[Reply, Spent]:
        most = bounds(request)
        bound = Spent(most, self.price.bound(most.input, most.output), 1, 1)
        try:
            with self._budget.hold(bound.cost, most.total) as hold:
                self._check_going()  # room in the budget may have come late
                try:
                    reply = self._client.send(request)
                except Busy as busy:
                    if busy.sent:
                        hold.settle(bound.cost, most.total)
                        self._count(bound)
                    raise
                used = reply.usage
                spent = bound if used is None else Spent(used, self.price.cost(used), 1)
                hold.settle(spent.cost, spent.usage.total)
        except BudgetSpent:
            raise SetAside("the ceiling of cost or tokens is reached") from None
        self._count(spent)
        return reply, spent

    def _count(self, spent: Spent) -> None:
        with self._lock:
            self.total += spent

    def _gave_up(self, reason: str) -> Exception:
        with self._lock:
            self._down += 1
            down = self._down
        if down < _DOWN_AFTER:
            return SetAside(f"no answer: {reason}")
        return TeacherError(
            f"{self._name}: no answer to {down} requests in a row ({reason}); check the server "
            "and run again: what was answered is kept"
        )

    def _hold_off(self, after_s: float | None, backoff_s: float) -> None:
        """Let every thread wait: a server that is busy is busy for all."""
        if after_s is not None and after_s > MAX_WAIT_S:
            raise TeacherError(
                f"{self._name}: the server asks to wait {min(after_s, 1e9):,.0f} s; run again "
                "then: what was answered is kept"
            )
        # Spread, so that the threads do not come back all at once.
        pause_s = backoff_s * random.uniform(0.5, 1.0) if after_s is None else after_s
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + pause_s)

    def _wait(self) -> None:
        while not self._stop.is_set():
            pause_s = self._not_before - time.monotonic()
            if pause_s <= 0:
                return
            self._stop.wait(pause_s)
        self._check_going()

    def _check_going(self) -> None:
        if self._stop.is_set():
            raise SetAside("the run was stopped")
