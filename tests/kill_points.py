"""Kills `clin-edge extract --resume` at random moments, again and again, and compares bytes.

    python tests/kill_points.py --kills 200 -o benchmarks/results/kill-points.json

A trial: an extraction of invented notes with a toy bundle is killed (SIGKILL, the workers left to
find out) at a random moment, started again, killed again, and at last left to finish. What it made
must be what an unbroken run makes, byte for byte; before the end nothing may bear its name; no
other file, and no process, may be left. CI runs a slice of it (tests/runtime/test_kill.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from toy import toy_bundle

# Small chunks, so that there is much to lose; each takes a moment, so that it can be met.
COMMAND = """
import sys, time
from clin_edge.runtime import durable, extract
extract.CHUNK_NOTES = 5
add = durable.DurableOutput.add
def slow(self, done):
    time.sleep(0.01)
    add(self, done)
durable.DurableOutput.add = slow
from clin_edge.cli import main
main(sys.argv[1:])
"""
KINDS = [("jsonl", 1), ("jsonl", 2), ("csv", 3), ("brat", 2), ("jsonl", 0)]


@dataclass
class Job:
    """One extraction, as a command."""

    notes: Path
    bundle: Path
    out: Path
    fmt: str
    workers: int

    def start(self) -> subprocess.Popen[bytes]:
        args = ["extract", str(self.notes), "-o", str(self.out), "--format", self.fmt]
        args += ["--workers", str(self.workers), "--threads", "1", "--resume"]
        env = {**os.environ, "CLIN_EDGE_BUNDLE": str(self.bundle), "CLIN_EDGE_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *args],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_notes(path: Path, n_notes: int, random: Random) -> None:
    """Write invented notes of many lengths."""
    words = ["chest", "pain,", "no", "fever;", "metformin", "500", "mg", "for", "diabetes\r\nand"]
    with path.open("w", encoding="utf-8") as stream:
        for i in range(n_notes):
            text = " ".join(random.choices(words, k=random.randrange(60)))
            stream.write(json.dumps({"id": f"n{i}", "text": text}) + "\n")


def trial(
    job: Job, expected: dict[str, bytes], n_chunks: int, took_s: float, random: Random
) -> Counter[str]:
    """Kill one extraction a few times, then let it finish; raises ``AssertionError``."""
    met: Counter[str] = Counter()
    for _ in range(random.randrange(1, 5)):
        process = job.start()
        await_moment(process, job.out, n_chunks, took_s, random)
        killed = process.poll() is None
        process.kill()
        process.communicate()
        if killed:
            met[stage(job.out)] += 1
        left = contents(job.out.parent)
        named = {name for name in left if name.split("/")[0] == job.out.name}
        assert not named or {n: left[n] for n in named} == expected, "a part bore the name"
    process = job.start()
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    assert contents(job.out.parent) == expected, "not the bytes of an unbroken run"
    return met


def await_moment(
    process: subprocess.Popen[bytes], out: Path, n_chunks: int, took_s: float, random: Random
) -> None:
    """Wait for a random moment: of the clock, or a little after a random chunk became safe."""
    if random.random() < 0.15:
        time.sleep(random.uniform(0, took_s))
        return
    wanted = random.randrange(n_chunks + 2)
    journal = out.with_name(out.name + ".journal")
    while process.poll() is None:
        try:
            if journal.read_bytes().count(b"\n") >= wanted + 1:
                break
        except OSError:  # not yet there
            pass
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.03))


def stage(out: Path) -> str:
    """Tell in which part of its work a run was killed, from what it left."""
    journal = out.with_name(out.name + ".journal")
    if not journal.exists():
        return "after the end" if out.exists() else "before its first file"
    raw = journal.read_bytes()
    if b'"ended"' in raw:
        return "while it finished"
    return "while it read notes" if b'"chunk"' in raw else "before its first chunk"


def orphans(mark: str) -> list[int]:
    """Find worker processes of ours that outlived their supervisor (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = "clin_edge.runtime.worker" in (entry / "cmdline").read_text()
            if ours and mark in (entry / "environ").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def run(n_kills: int, *, seed: int, n_notes: int = 150, folder: Path) -> dict[str, object]:
    """Kill until so many kills have met work; give what was met, by format and workers."""
    random = Random(seed)
    notes, bundle = folder / "notes.jsonl", toy_bundle(folder / "bundle").path
    write_notes(notes, n_notes, random)
    unbroken: dict[tuple[str, int], tuple[dict[str, bytes], float]] = {}
    met: dict[str, Counter[str]] = {}
    n_trials = 0
    while sum(sum(c.values()) for c in met.values()) < n_kills:
        fmt, workers = kind = KINDS[n_trials % len(KINDS)]
        n_trials += 1
        if kind not in unbroken:
            place = folder / f"unbroken-{fmt}-{workers}"
            place.mkdir()
            started = time.monotonic()
            process = Job(notes, bundle, place / "out", fmt, workers).start()
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
            unbroken[kind] = contents(place), time.monotonic() - started
        place = folder / f"{n_trials}"
        place.mkdir()
        expected, took_s = unbroken[kind]
        job = Job(notes, bundle, place / "out", fmt, workers)
        met.setdefault(f"{fmt}, {workers} workers", Counter()).update(
            trial(job, expected, -(-n_notes // 5), took_s, random)
        )
    deadline = time.monotonic() + 60
    while left := orphans(str(bundle)):
        assert time.monotonic() < deadline, f"workers outlived their supervisors: {left}"
        time.sleep(0.1)
    return {
        "kills": sum(sum(c.values()) for c in met.values()),
        "trials": n_trials,
        "notes": n_notes,
        "met": {name: dict(sorted(c.items())) for name, c in sorted(met.items())},
        "files_that_differ": 0,
        "workers_left": 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(args.kills, seed=args.seed, folder=Path(folder))
    results |= {"seed": args.seed, "system": platform.platform(), "python": sys.version.split()[0]}
    text = json.dumps(results, indent=1) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
