"""Speed and memory of `clin-edge extract`, measured from outside: whole processes, file to file.

    python benchmarks/throughput.py                                  # sample notes, repeated
    python benchmarks/throughput.py NOTES.jsonl.gz --sizes 200,2376 -o benchmarks/results/x.json

Sizes are run in turn, `--rounds` times, so that a machine that changes speed changes it for all;
medians are reported. Peak memory is the process's own high-water mark.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clin_edge.core.notes import Note, read_notes
from clin_edge.runtime.demo import SAMPLES
from clin_edge.runtime.pipeline import open_default_or
from clin_edge.runtime.threads import usable_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", nargs="*", help="notes to read (default: the samples, repeated)")
    parser.add_argument("--sizes", default="", help="numbers of notes, with commas (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bundle", help="a bundle's folder (default: the package's)")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    notes = list(read_notes(args.notes)) if args.notes else repeated_samples(20)
    sizes = [int(size) for size in args.sizes.split(",") if size] or [len(notes)]
    here = machine()  # before the runs: the commit they are of
    runs: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for size in sizes:
                runs[size].append(run(notes[:size], Path(folder), args.bundle))
    results = {
        "machine": here,
        "bundle": open_default_or(args.bundle).id,
        "runs": [{"notes": size, **median(of)} for size, of in runs.items()],
    }
    for row in results["runs"]:
        print(
            f"{row['notes']:>7,} notes {row['words']:>10,} words {row['wall_s']:>8.1f} s "
            f"{row['words_per_s']:>8,.0f} words/s  peak {row['peak_mb']:,.0f} MB"
        )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def run(notes: list[Note], folder: Path, bundle: str | None) -> dict[str, Any]:
    """Extract once in a process of its own; read its clock, its memory and what it wrote."""
    source, out = folder / "notes.jsonl", folder / "out.jsonl"
    with source.open("w", encoding="utf-8") as stream:
        for note in notes:
            stream.write(json.dumps({"id": note.id, "text": note.text}) + "\n")
    command = [sys.executable, "-m", "clin_edge", "extract", str(source), "-o", str(out)]
    command += ["--bundle", bundle] if bundle else []
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    labels: Counter[str] = Counter()
    chars = read = windows = 0
    with out.open(encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            labels.update(entity["label"] for entity in record["entities"])
            chars += record["coverage"]["chars"]
            read += record["coverage"]["read"]
            windows += record["coverage"]["windows"]
    words = sum(len(note.text.split()) for note in notes)
    return {
        "words": words,
        "wall_s": round(wall_s, 2),
        "words_per_s": round(words / wall_s, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3), 1),
        "chars": chars,
        "chars_read": read,
        "windows": windows,
        "entities": dict(sorted(labels.items())),
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the run of median wall time, with the highest memory of all."""
    middle = sorted(runs, key=lambda r: r["wall_s"])[len(runs) // 2]
    spread = [r["wall_s"] for r in runs]
    return {
        **middle,
        "peak_mb": max(r["peak_mb"] for r in runs),
        "rounds": len(runs),
        "wall_s_median": round(statistics.median(spread), 2),
        "wall_s_min": min(spread),
        "wall_s_max": max(spread),
    }


def spread_notes(place: str, n: int) -> list[Note]:
    """Give ``n`` notes of a place at most, evenly spread over all."""
    every = list(read_notes([place]))
    return every[:: max(1, len(every) // n)][:n]


def machine() -> dict[str, Any]:
    """Say what these figures were measured on."""
    cpu, flags = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        named = {key.strip(): value.strip() for key, value in facts.items()}
        cpu = f"{named.get('model name', cpu)} (family {named.get('cpu family', '?')})"
        flags = named.get("flags", "")
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": cpu,
        "instructions": [name for name in wanted if name in flags.split()],
        "threads": usable_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("openvino", "tokenizers", "numpy", "clin-edge")},
        "commit": commit.stdout.strip(),
    }


def repeated_samples(times: int) -> list[Note]:
    samples = list(read_notes([str(SAMPLES)]))
    return [Note(f"{i}-{note.id}", note.text) for i in range(times) for note in samples]


if __name__ == "__main__":
    main()
