"""Shows what memory `clin-edge extract` takes as notes grow in number.

    python benchmarks/memory.py NOTES --counts 1000 10000 100000 -o benchmarks/results/memory.json

Notes are pieces of NOTES, 3 to 12 words long, each another one; every 500th is a whole note. The
resident memory of the supervisor and of its workers is sampled five times a second (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from throughput import machine

from clin_edge.core.notes import read_notes
from clin_edge.runtime.memory import resident_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    texts = [note.text for note in islice(read_notes([args.notes]), 400)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name, "notes.jsonl")
        for count in args.counts:
            with notes.open("w", encoding="utf-8") as stream:
                for i, text in enumerate(islice(pieces(texts), count)):
                    stream.write(json.dumps({"id": str(i), "text": text}) + "\n")
            command = [sys.executable, "-m", "clin_edge", "extract", str(notes)]
            command += ["-o", str(Path(name, "out.jsonl")), "--workers", str(args.workers)]
            command += ["--batch-tokens", str(args.batch_tokens)]
            rows.append({"notes": count, **watched(command)})
            print(rows[-1], flush=True)
            results = {
                "machine": machine(),
                "workers": args.workers,
                "batch_tokens": args.batch_tokens,
                "runs": rows,
            }
            args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def pieces(texts: list[str]) -> Iterator[str]:
    """Yield pieces of texts without end, the same ones every time."""
    random = Random(0)
    for i in range(sys.maxsize):
        text = random.choice(texts)
        if i % 500 == 499:
            yield text
            continue
        words = text.split()
        start = random.randrange(max(1, len(words) - 12))
        yield " ".join(words[start : start + random.randrange(3, 13)])


def watched(command: list[str]) -> dict[str, Any]:
    """Run a command; give its seconds, and the highest memory of it and of its workers, in MB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peak_parent = peak_workers = 0
    by_tenth: list[int] = []
    while process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            pids = [int(pid) for pid in children.read_text().split()]
        except OSError:
            break
        now = sum(resident_bytes(pid) or 0 for pid in pids)
        by_tenth.append(now)
        peak_workers = max(peak_workers, now)
        peak_parent = max(peak_parent, resident_bytes(process.pid) or 0)
        time.sleep(0.2)
    _, said = process.communicate()
    if process.returncode:
        sys.exit(said)
    tenth = max(1, len(by_tenth) // 10)
    course = [max(by_tenth[i : i + tenth]) for i in range(0, len(by_tenth), tenth)][:10]
    return {
        "seconds": round(time.monotonic() - started, 1),
        "peak_worker_mb": round(peak_workers / 1e6, 1),
        "peak_supervisor_mb": round(peak_parent / 1e6, 1),
        "worker_mb_by_tenths_of_the_run": [round(n / 1e6, 1) for n in course],
    }


if __name__ == "__main__":
    main()
