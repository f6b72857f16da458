"""Shows that records do not depend on threads, batches, workers, order or neighbours.

    python benchmarks/invariance.py NOTES --bundle DIR -o benchmarks/results/invariance.json

Every way to run is the command, `clin-edge extract`. Records are compared byte for byte, by id,
with those of one worker, one thread, batches of 512 tokens, notes in order. A bundle for two
engines is also compared between them: which spans differ, and by how much the scores of the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from throughput import machine

from clin_edge.core.notes import Note, read_notes
from clin_edge.runtime.pipeline import open_default_or

WAYS: dict[str, list[str]] = {
    "2 threads": ["--threads", "2"],
    "4 threads": ["--threads", "4"],
    "batches of 64 tokens": ["--batch-tokens", "64"],
    "batches of 256 tokens": ["--batch-tokens", "256"],
    "batches of 4,096 tokens": ["--batch-tokens", "4096"],
    "2 workers": ["--workers", "2"],
    "3 workers, 2 threads, 1,024": ["--workers", "3", "--threads", "2", "--batch-tokens", "1024"],
    "repeated passages read again": ["--no-reuse"],
    "no worker": ["--workers", "0"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here, bundle = machine(), open_default_or(args.bundle)
    notes = list(islice(read_notes([args.notes]), args.n))
    mixed = Random(0).sample(notes, len(notes))
    rows: dict[str, Any] = {}
    found: dict[str, dict[str, str]] = {}
    for engine in bundle.manifest.engines:
        given = ["--engine", engine, "--bundle", str(bundle.path)]
        base = found[engine] = records(notes, given)
        row = {
            way: differing(base, records(notes, given + options)) for way, options in WAYS.items()
        }
        row["backwards"] = differing(base, records(notes[::-1], given))
        row["mixed order"] = differing(base, records(mixed, given))
        row["every note alone"] = differing(
            base, {k: v for note in notes[:15] for k, v in records([note], given).items()}
        )
        rows[engine] = row
        print(engine, json.dumps(row, indent=1), flush=True)
    results = {
        "machine": here,
        "bundle": bundle.id,
        "notes": len(notes),
        "entities": sum(len(json.loads(line)["entities"]) for line in base.values()),
        "records_that_differ": rows,
    }
    if len(found) == 2:
        results["between_engines"] = between(*found.values())
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def records(notes: Sequence[Note], options: list[str]) -> dict[str, str]:
    """Give each note's record, as written, by id."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "notes.jsonl"), Path(folder, "out.jsonl")
        lines = (json.dumps({"id": n.id, "text": n.text}) + "\n" for n in notes)
        given.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "clin_edge", "extract", str(given), "-o", str(out)]
        if "--threads" not in options:
            options = [*options, "--threads", "1"]
        subprocess.run([*command, *options], check=True, stderr=subprocess.DEVNULL)
        written = out.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {json.loads(line)["id"]: line for line in written}


def differing(base: dict[str, str], other: dict[str, str]) -> int:
    """Count the records that are not the same bytes."""
    return sum(base[note_id] != line for note_id, line in other.items())


def between(one: dict[str, str], other: dict[str, str]) -> dict[str, Any]:
    """Compare the spans and scores of two engines."""
    shared = only_one = only_other = beyond = 0
    largest = 0.0
    for note_id, line in one.items():
        a, b = (
            {(e["start"], e["end"], e["label"]): e["score"] for e in json.loads(x)["entities"]}
            for x in (line, other[note_id])
        )
        shared += len(a.keys() & b.keys())
        only_one += len(a.keys() - b.keys())
        only_other += len(b.keys() - a.keys())
        for span in a.keys() & b.keys():
            change = abs(a[span] - b[span])
            largest = max(largest, change)
            beyond += change > 0.01
    return {
        "spans_shared": shared,
        "only_first": only_one,
        "only_second": only_other,
        "scores_more_than_0.01_apart": beyond,
        "largest_score_change": round(largest, 4),
    }


if __name__ == "__main__":
    main()
