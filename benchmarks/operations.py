"""Shows where the network's time goes, kind of operation by kind, in microseconds a token.

    python benchmarks/operations.py NOTES -n 60 -o benchmarks/results/operations.json

One thread, OpenVINO's own clocks, the default bundle or --bundle, batches of the size
`extract` makes;
padding takes time and is not counted as tokens. What OpenVINO does together has one time: GELU is
part of the first product of a feed-forward layer, rounding to 8 bits of what gives the numbers.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino as ov
from throughput import machine, spread_notes

from clin_edge.core.batching import Batch, batches
from clin_edge.runtime.pipeline import (
    Pipeline,
    open_default_or,
    open_session,
    suitable_batch_tokens,
)

# The first that is found in an operation's type and name says what it is.
KINDS = {
    "feed-forward, first product and GELU": r"^FullyConnected.*intermediate\.dense",
    "products of attention's four matrices": r"^FullyConnected.*attention",
    "feed-forward, second product": r"^FullyConnected.*output\.dense",
    "attention itself: two products and softmax": r"scaled_dot_product",
    "SmoothQuant's multiplications": r"smooth_quant",
    "layer normalisation": r"LayerNorm/",
    "transposition": r"^Transpose",
    "sums around a layer": r"^Add ",
}


def kind_of(operation: Any) -> str:
    """Tell what an operation is, by its type and name."""
    said = f"{operation.node_type} {operation.node_name}"
    return next((kind for kind, sign in KINDS.items() if re.search(sign, said)), "all else")


def measured(request: ov.InferRequest, work: Sequence[Batch]) -> Counter[str]:
    """Run batches; give the seconds of each kind of operation."""
    seconds: Counter[str] = Counter()
    for batch in work:
        request.infer({"input_ids": batch.input_ids, "attention_mask": batch.attention_mask})
        for operation in request.get_profiling_info():
            if operation.status == ov.ProfilingInfo.Status.EXECUTED:
                seconds[kind_of(operation)] += operation.real_time.total_seconds()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("-n", type=int, default=60, help="how many notes, evenly spread")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here = machine()
    compile_model = ov.Core.compile_model

    def with_clocks(core: Any, model: Any, device: str, settings: dict[str, str]) -> Any:
        return compile_model(core, model, device, {**settings, "PERF_COUNT": "YES"})

    ov.Core.compile_model = with_clocks
    bundle = open_default_or(args.bundle)
    session = open_session(bundle, engine="openvino", threads=1)
    encoder = Pipeline(bundle, session).predictor.encoder
    notes = spread_notes(args.notes, args.n)
    windows = []
    for note in notes:
        encoded = encoder.encode(note)
        windows += [encoder.window_ids(encoded, window) for window in encoded.windows]
    work = list(
        batches(
            windows,
            longest=encoder.max_tokens,
            pad_id=encoder.pad_id,
            batch_tokens=suitable_batch_tokens(bundle.manifest),
        )
    )
    request = session._compiled.create_infer_request()
    measured(request, work)  # plans every shape
    rounds = [measured(request, work) for _ in range(args.rounds)]
    n_tokens = sum(map(len, windows))
    us = {
        kind: round(1e6 * statistics.median(seconds[kind] for seconds in rounds) / n_tokens, 2)
        for kind in [*KINDS, "all else"]
    }
    total = sum(us.values())
    results = {
        "machine": here,
        "bundle": bundle.id,
        "engine": session.name,
        "engine_threads": 1,
        "notes": len(notes),
        "tokens": n_tokens,
        "positions_per_token": round(sum(batch.input_ids.size for batch in work) / n_tokens, 3),
        "us_per_token": {**us, "all": round(total, 2)},
        "share": {kind: round(value / total, 3) for kind, value in us.items()},
    }
    print(json.dumps(results, indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
