"""Shows that bad notes do not stop the others, and what they cost.

    python benchmarks/bad_notes.py NOTES -o benchmarks/results/bad-notes.json

The same good notes are read alone and among notes made to break a reader, in turn, by the command
(`clin-edge extract --quarantine`). The good notes' records must be the same bytes both times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from throughput import machine

from clin_edge.core.notes import read_notes

ROUNDS = 3
BAD: dict[str, bytes] = {
    "10 MB of NUL": json.dumps({"id": "nul", "text": "\0" * 10_000_000}).encode(),
    "more than 10 million characters": json.dumps({"id": "x", "text": "x" * 10_000_001}).encode(),
    "a lone surrogate": b'{"id": "surrogate", "text": "fever \\ud800"}',
    "a million combining marks": json.dumps(
        {"id": "marks", "text": "e" + "\u0301" * 10**6}
    ).encode(),
    "one word of 5 MB": json.dumps({"id": "word", "text": "a" * 5_000_000}).encode(),
    "a million line breaks": json.dumps({"id": "breaks", "text": "\n" * 10**6}).encode(),
    "bytes that are not UTF-8": b'{"id": "bytes", "text": "\xff\xfe"}',
    "JSON nested 100,000 deep": b'{"id": "deep", "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a line that is no JSON": b"fever",
    "a text that is a number": b'{"id": "number", "text": 7}',
    "an id that comes twice": b'{"id": "nul", "text": "again"}',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here = machine()
    good = [
        json.dumps({"id": f"good-{n.id}", "text": n.text}).encode()
        for n in islice(read_notes([args.notes]), args.n)
    ]
    mixed: list[bytes] = []
    every = max(1, len(good) // len(BAD))
    for i, line in enumerate(good):
        mixed.append(line)
        if i % every == 0 and i // every < len(BAD):
            mixed.append(list(BAD.values())[i // every])
    took: dict[str, list[float]] = {"good": [], "among bad": []}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(ROUNDS):
            alone = read(good, Path(name), took["good"])
            among = read(mixed, Path(name), took["among bad"])
    quarantine = [json.loads(line) for line in among[1]]
    results: dict[str, Any] = {
        "machine": here,
        "good_notes": len(good),
        "bad_notes": list(BAD),
        "good_records_that_differ": sum(line not in set(among[0]) for line in alone[0]),
        "read_all_the_same": len(among[0]) - len(alone[0]),
        "set_aside": [
            {"reason": q["reason"], "line": q["where"].rsplit(":", 1)[-1], "id": q["id"]}
            if "where" in q
            else q
            for q in quarantine
        ],
        "seconds": {kind: round(statistics.median(times), 2) for kind, times in took.items()},
        "ratio": round(
            statistics.median(b / a for a, b in zip(took["good"], took["among bad"], strict=True)),
            2,
        ),
    }
    print(json.dumps(results, indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def read(lines: list[bytes], folder: Path, took: list[float]) -> tuple[list[str], list[str]]:
    """Run the command; give the records and the quarantine's lines."""
    notes, out, aside = folder / "notes.jsonl", folder / "out.jsonl", folder / "aside.jsonl"
    notes.write_bytes(b"\n".join(lines) + b"\n")
    command = [sys.executable, "-m", "clin_edge", "extract", str(notes), "-o", str(out)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--quarantine", str(aside)], stderr=subprocess.PIPE, text=True, check=False
    )
    took.append(time.perf_counter() - started)
    if done.returncode not in (0, 8):
        sys.exit(done.stderr)
    records, set_aside = (x.read_text(encoding="utf-8").splitlines() for x in (out, aside))
    return records, set_aside


if __name__ == "__main__":
    main()
