"""The lean runtime: notes in, records out. OpenVINO or onnxruntime, tokenizers, numpy; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clin_edge.runtime.pipeline import Pipeline as Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> Any:
    """Load ``Pipeline`` when it is first asked for, so that ``--help`` need not load numpy."""
    if name == "Pipeline":
        from clin_edge.runtime.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
