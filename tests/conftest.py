"""What all tests share: the Hypothesis profiles and the toy parts as fixtures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# No test asks a model hub for anything; read when transformers is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# Nor does any keep compiled models in the home of who runs it.
os.environ["CLIN_EDGE_CACHE"] = ""

# `from toy import …` also where the tests run beside a built wheel, without pyproject.toml.
sys.path.insert(0, str(Path(__file__).parent))

from clin_edge.core.labels import LabelScheme
from toy import ToySession, toy_encoder, toy_scheme

# `repeatable` tries the same cases on every machine and every run; to look for new ones:
#     pytest --hypothesis-profile=search
settings.register_profile("repeatable", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("search", max_examples=500, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def scheme() -> LabelScheme:
    """Three labels, seven tags."""
    return toy_scheme()


@pytest.fixture(params=["wordpiece", "bytes"])
def encoder(request: pytest.FixtureRequest):
    """A toy encoder of each kind of tokenizer, with windows of 16 tokens."""
    return toy_encoder(kind=request.param)


@pytest.fixture
def session() -> ToySession:
    """A toy network."""
    return ToySession()
