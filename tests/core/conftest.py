"""What the tests of core share."""

from __future__ import annotations

import io
import sys

import pytest


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch):
    """A function that puts bytes on standard input."""

    def put(raw: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="ascii"))

    return put
