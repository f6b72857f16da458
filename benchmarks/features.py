"""What each feature of `clin-edge extract` costs in words a second.

    python benchmarks/features.py NOTES -o benchmarks/results/features.json

All ways read the same notes in turn, round after round; a ratio is the median over rounds of a
way's speed against the barest way of that round: one process, no context, JSONL to a file.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from throughput import machine

from clin_edge.core.notes import read_notes

BARE = ["--workers", "0", "--no-context"]
WAYS: dict[str, list[str]] = {
    "bare": BARE,
    "with context": ["--workers", "0"],
    "a worker under watch": ["--no-context"],
    "worker and context (the default)": [],
    "default, --no-text": ["--no-text"],
    "default, csv": ["--format", "csv"],
    "default, parquet": ["--format", "parquet"],
    "default, brat": ["--format", "brat"],
    "default, html": ["--format", "html"],
    "default, omop": ["--format", "omop"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    texts = [note.text for note in islice(read_notes([args.notes]), args.n)]
    n_words = sum(len(text.split()) for text in texts)
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name, "notes.jsonl")
        lines = (json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts, 1))
        notes.write_text("".join(lines), encoding="utf-8")
        for turn in range(args.rounds):
            for way, options in WAYS.items():
                out = Path(name, f"{turn}-{way}")
                command = [sys.executable, "-m", "clin_edge", "extract", str(notes), *options]
                done = subprocess.run(
                    [*command, "-o", str(out)], stderr=subprocess.PIPE, text=True, check=True
                )
                took_s = float(re.search(r" in ([\d.]+) s ", done.stderr)[1])
                speeds[way].append(n_words / took_s)
                print(turn, way, round(speeds[way][-1]), flush=True)
    results = {
        "machine": machine(),
        "notes": len(texts),
        "words": n_words,
        "rounds": args.rounds,
        "ways": {
            way: {
                "words_s": round(statistics.median(of)),
                "over_bare": round(
                    statistics.median(a / b for a, b in zip(of, speeds["bare"], strict=True)), 3
                ),
            }
            for way, of in speeds.items()
        },
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
