"""Shows how fast a model runs in each engine here, alone, with products in INT8 and in float.

    python benchmarks/engines.py [BUNDLE…] -o benchmarks/results/engines.json

Every way runs the same batches in turn (A B A B …); medians of microseconds a token. Without a
bundle, the default one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from throughput import machine

from clin_edge.core.batching import Batch
from clin_edge.core.bundle import open_bundle
from clin_edge.runtime.ov import PRODUCTS
from clin_edge.runtime.pipeline import DEFAULT_BUNDLE, open_session
from clin_edge.runtime.ports import EngineSession
from clin_edge.runtime.threads import usable_threads

SHAPES = ((16, 32), (8, 64), (4, 128), (2, 256))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here, rows = machine(), []
    for folder in args.bundles or [DEFAULT_BUNDLE]:
        rows += measured(folder, args.threads, args.rounds)
        for row in rows:
            print(row, flush=True)
    results = {"machine": here, "threads": args.threads, "rounds": args.rounds, "runs": rows}
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    bundle = open_bundle(folder, allow_hard_links=True)
    sessions: dict[str, EngineSession] = {}
    for engine in bundle.manifest.engines:
        in_float = engine == "openvino" and bundle.manifest.precision == "int8"
        for products in PRODUCTS if in_float else (bundle.manifest.precision,):
            os.environ["CLIN_EDGE_PRODUCTS"] = products if in_float else ""
            name = f"{engine}, {products} products"
            sessions[name] = open_session(bundle, engine=engine, threads=threads)
    rng = np.random.default_rng(0)
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in sessions}
    for rows, length in SHAPES:
        if length > bundle.manifest.max_tokens:
            continue
        ids = rng.integers(1_000, 20_000, (rows, length))
        batch = Batch(ids, np.ones_like(ids), tuple(range(rows)))
        for n in range(rounds + 1):
            for name, session in sessions.items():
                began = time.perf_counter()
                session.run(batch)
                if n:
                    us = 1e6 * (time.perf_counter() - began) / ids.size
                    taken[name].setdefault(f"{rows}x{length}", []).append(us)
    return [
        {
            "bundle": bundle.id,
            "name": bundle.manifest.name,
            "precision": bundle.manifest.precision,
            "engine": session.name,
            "way": name,
            "us_per_token": {k: round(statistics.median(v), 1) for k, v in taken[name].items()},
        }
        for name, session in sessions.items()
    ]


if __name__ == "__main__":
    main()
