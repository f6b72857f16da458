"""A sound machine, and variations of it."""

from __future__ import annotations

import math
from typing import Any

from clin_edge.runtime.machine import BundleFact, EngineFact, Machine
from clin_edge.runtime.processor import Processor
from clin_edge.runtime.threads import CpuShare

BUNDLE = BundleFact(
    path="/opt/clin-edge/model",
    name="clin-edge default",
    version="1",
    id="sha256:3f9a0c12d4e5",
    precision="int8",
    engines=("openvino",),
    n_files=5,
    size_bytes=24_000_000,
)
OLD_CPU = Processor("Some Xeon", "x86_64", {"AVX2": True, "AVX512-VNNI": False})


def a_machine(**changes: Any) -> Machine:
    """A machine that is ready, but for the changes."""
    fields: dict[str, Any] = {
        "clin_edge": "0.1.0",
        "python": "3.11.7",
        "system": "Debian GNU/Linux 12 (bookworm)",
        "processor": OLD_CPU,
        "cpus": CpuShare(machine=8, allowed=8, cores=4, quota=math.inf),
        "threads_problem": False,
        "memory_bytes": 16_000_000_000,
        "memory_available_bytes": 9_000_000_000,
        "engines": (
            EngineFact("openvino", "ready", "2026.4.1"),
            EngineFact("onnxruntime", "missing"),
        ),
        "bundle": BUNDLE,
        "reports_off": True,
    }
    return Machine(**{**fields, **changes})
