"""Runs `clin-edge extract` of two or more checkouts on the same notes, in turn, and compares.

    python benchmarks/in_turn.py NOTES -n 40 before=../old after=. -o benchmarks/results/x.json

An arm is NAME=CHECKOUT; options of extract for one arm follow a comma: serial=.,--workers,0.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from throughput import machine, spread_notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("arms", nargs="+", metavar="NAME=CHECKOUT")
    parser.add_argument("-n", type=int, default=40, help="how many notes, evenly spread")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here = machine()
    notes = spread_notes(args.notes, args.n)
    words = sum(len(note.text.split()) for note in notes)
    arms = {name: place.split(",") for name, _, place in (a.partition("=") for a in args.arms)}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "notes.jsonl")
        source.write_text("".join(json.dumps({"id": n.id, "text": n.text}) + "\n" for n in notes))
        for _ in range(args.rounds):
            for name, (checkout, *options) in arms.items():
                command = [sys.executable, "-P", "-m", "clin_edge", "extract", str(source)]
                command += ["-o", str(Path(folder, "out")), *options]
                path = {**os.environ, "PYTHONPATH": str(Path(checkout, "src").resolve())}
                began = time.perf_counter()
                subprocess.run(command, check=True, env=path, stderr=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - began)
    first = next(iter(seconds))
    rows = {
        name: {
            "commit": commit(Path(arms[name][0])),
            "options": arms[name][1:],
            "words_per_s": round(words / statistics.median(taken), 1),
            f"times_as_fast_as_{first}": round(
                statistics.median(a / b for a, b in zip(seconds[first], taken, strict=True)), 3
            ),
            "seconds": [round(s, 2) for s in taken],
        }
        for name, taken in seconds.items()
    }
    results = {"machine": here, "notes": len(notes), "words": words, "arms": rows}
    print(json.dumps(rows, indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
