"""What every model in a bundle takes and gives."""

from __future__ import annotations

from typing import Protocol

from clin_edge.core.batching import Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError

INPUTS = frozenset({"input_ids", "attention_mask"})
OUTPUT = "logits"


class EngineSession(Session, Protocol):
    """A session of an engine that can be named.

    Attributes:
        name: The engine and its version: between versions answers may differ.
    """

    name: str


def check_ports(bundle: Bundle, inputs: set[str], outputs: set[str]) -> None:
    """Refuse a model that takes or gives something else; raises ``BundleError``."""
    if inputs != INPUTS or OUTPUT not in outputs:
        raise BundleError(
            f"{bundle.path}: its model takes {sorted(inputs)} and gives {sorted(outputs)}, "
            f"expected {sorted(INPUTS)} and {OUTPUT!r}"
        )
