"""The examples in core's docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import clin_edge.core

MODULES = sorted(m.name for m in pkgutil.iter_modules(clin_edge.core.__path__, "clin_edge.core."))
WITH_EXAMPLES = {f"clin_edge.core.{name}" for name in ("batching", "labelled", "spans", "windows")}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES


def test_every_module_is_looked_at() -> None:
    assert set(MODULES) > WITH_EXAMPLES
