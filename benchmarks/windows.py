"""Shows what a window's size and passages cost or gain: scores on gold, and time.

    python benchmarks/windows.py GOLD… -o benchmarks/results/windows.json

The default bundle, or --bundle, reads the same notes with other windows than it learnt with; INT8
as it is. Plans are timed in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from throughput import machine

from clin_edge.core.encode import Encoder
from clin_edge.core.labelled import keep_labels, read_labelled
from clin_edge.core.notes import read_notes
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.runtime.pipeline import open_default_or, open_session
from clin_edge.runtime.threads import usable_threads

PLANS = [(256, 32, 0), (256, 32, 32), (192, 32, 32), (128, 32, 32), (128, 16, 32), (96, 24, 32)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", nargs="+", type=Path)
    parser.add_argument("--map", default="DISEASE=DISEASE|SYMPTOM")
    parser.add_argument("--notes", help="notes to time the plans on, 30 of them, evenly spread")
    parser.add_argument("--bundle")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    bundle = open_default_or(args.bundle)
    session = open_session(bundle, engine="auto", threads=usable_threads())
    scheme = bundle.manifest.scheme
    predictors = {}
    for size, overlap, passage in PLANS:
        encoder = Encoder(
            bundle.files["tokenizer.json"],
            max_tokens=size,
            overlap=overlap,
            passage_tokens=passage,
        )
        predictors[size, overlap, passage] = Predictor(encoder, scheme, session)
    rows = []
    for plan, predictor in predictors.items():
        f1 = {}
        for path in args.gold:
            renames = {} if "maccrobat" in str(path) else dict([args.map.split("=")])
            gold = keep_labels(read_labelled(path, renames), scheme.types)
            found = {r.note.id: r.entities for r in predictor.read(item.note for item in gold)}
            scores = score(gold, found)
            f1[f"{path.parent.name} {path.stem}"] = round(scores.micro.counts.f1, 4)
        rows.append({"plan": plan, "f1": f1, "seconds": []})
        print(rows[-1], flush=True)
    if args.notes:
        every = list(read_notes([args.notes]))
        notes = every[:: max(1, len(every) // 30)][:30]
        for _ in range(args.rounds):
            for row in rows:
                started = time.perf_counter()
                for _reading in predictors[row["plan"]].read(notes):
                    pass
                row["seconds"].append(time.perf_counter() - started)
    for row in rows:
        row["seconds"] = round(statistics.median(row["seconds"] or [0]), 2)
        print(row)
    results = {"machine": machine(), "engine": session.name, "bundle": bundle.id, "runs": rows}
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
