"""What was measured where, with what: the part of a report that is no figure.

No path, no host name and no user's name is in it: reports are published.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import clin_edge
from clin_edge.core.bundle import Bundle
from clin_edge.runtime.bench.notes import Portion
from clin_edge.runtime.bench.probe import Linear
from clin_edge.runtime.machine import look_up_machine


def machine_facts(bundle: Bundle, threads: int, workers: int) -> dict[str, Any]:
    """Tell processor, instruction sets, cores, memory, system and versions."""
    machine = look_up_machine(bundle.path)
    return {
        "processor": machine.processor.name,
        "architecture": machine.processor.architecture,
        "instructions": dict(machine.processor.instructions),
        "cpus": machine.cpus.machine,
        "cpus_allowed": machine.cpus.allowed,
        "cores": machine.cpus.cores,
        "threads": threads,
        "workers": workers,
        "memory_bytes": machine.memory_bytes,
        "system": machine.system,
        "python": platform.python_version(),
        "versions": {
            "clin-edge": clin_edge.__version__,
            "numpy": version("numpy"),
            "tokenizers": version("tokenizers"),
            **{engine.name: engine.version for engine in machine.engines if engine.version},
        },
    }


def bundle_facts(
    bundle: Bundle, engine: Mapping[str, str], layers: Sequence[Linear]
) -> dict[str, Any]:
    """Tell which bundle it was, which engine ran it, and how much arithmetic a token takes."""
    manifest = bundle.manifest
    return {
        "id": bundle.id,
        "name": manifest.name,
        "version": manifest.version,
        "precision": manifest.precision,
        "engine": dict(engine),
        "max_tokens": manifest.max_tokens,
        "overlap": manifest.overlap,
        "linear_layers": len(layers),
        "macs_per_token": sum(layer.macs for layer in layers),
        "scores": manifest.scores,
    }


def notes_facts(portions: Sequence[Portion], *, invented: bool) -> dict[str, Any]:
    """Tell how many notes there were to read, and how long they were in the mean."""
    n_notes = sum(portion.notes for portion in portions)
    means = {
        f"{what}_per_note": sum(getattr(portion, what) for portion in portions) / n_notes
        for what in ("words", "tokens", "chars")
    }
    return {"invented": invented, "notes": n_notes, **means}
