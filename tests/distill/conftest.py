"""What the tests of language models share."""

from __future__ import annotations

import functools
import ssl
import threading
import time
from types import SimpleNamespace

import pytest

from clin_edge.distill.teachers.llm import sender
from clin_edge.distill.teachers.llm.prices import Prices
from llm_runs import KEY

_one_context = functools.cache(ssl.create_default_context)
_our_prices = functools.cache(Prices.load)


@pytest.fixture
def llm_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of ours, nothing else of the machine's; certificates and prices are read once."""
    for name in ("OPENAI_BASE_URL", "GOOGLE_API_KEY", "OPENAI_LOG", "CLIN_EDGE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setattr(ssl, "create_default_context", _one_context)
    monkeypatch.setattr(Prices, "load", _our_prices)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that senders waited, in threads added up; none of them really passes."""
    waited: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return self.is_set()

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(waited))
    monkeypatch.setattr(sender, "time", clock)
    monkeypatch.setattr(sender, "threading", SimpleNamespace(Event=Event, Lock=threading.Lock))
    return waited
