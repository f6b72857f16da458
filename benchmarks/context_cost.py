"""What context costs: microseconds a word, and its share of the time that extract takes.

    python benchmarks/context_cost.py                              # sample notes, repeated
    python benchmarks/context_cost.py NOTES.jsonl.gz --notes 200 -o benchmarks/results/context.json

The default bundle finds the entities; context is then asked about the same ones, `--rounds` times,
and the median is reported. Both run in this process, on `--threads` threads and on one. Where
others use the machine, CPU time says more than wall time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections import Counter
from pathlib import Path

from throughput import machine, repeated_samples

from clin_edge.core.notes import read_notes
from clin_edge.runtime.context import assertions
from clin_edge.runtime.context_rules import load_rules
from clin_edge.runtime.pipeline import Pipeline
from clin_edge.runtime.threads import usable_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", nargs="*", help="notes to read (default: the samples, repeated)")
    parser.add_argument("--notes", dest="size", type=int, help="only the first of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    given = read_notes(args.notes) if args.notes else iter(repeated_samples(2))
    notes = list(itertools.islice(given, args.size))
    here = machine()
    started = time.perf_counter()
    load_rules()
    load_s = time.perf_counter() - started
    pipeline = Pipeline.from_bundle(threads=args.threads)
    started, cpu = time.perf_counter(), time.process_time()
    found = [(n.text, [e.span for e in entities]) for n, entities in pipeline.annotate(notes)]
    extract_s, extract_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    rounds, rounds_cpu, values = [], [], Counter[str]()
    for _ in range(args.rounds):
        started, cpu = time.perf_counter(), time.process_time()
        values = Counter(v for text, spans in found for v in assertions(text, spans))
        rounds.append(time.perf_counter() - started)
        rounds_cpu.append(time.process_time() - cpu)
    context_s, context_cpu_s = statistics.median(rounds), statistics.median(rounds_cpu)
    words = sum(len(note.text.split()) for note in notes)
    results = {
        "machine": here,
        "bundle": pipeline.bundle.id,
        "threads": args.threads,
        "notes": len(notes),
        "words": words,
        "entities": values.total(),
        "values": dict(sorted(values.items())),
        "extract_s": round(extract_s, 2),
        "extract_cpu_s": round(extract_cpu_s, 2),
        "extract_words_per_s": round(words / extract_s, 1),
        "context_s": round(context_s, 4),
        "context_s_min": round(min(rounds), 4),
        "context_s_max": round(max(rounds), 4),
        "context_cpu_s": round(context_cpu_s, 4),
        "context_us_per_word": round(1e6 * context_s / words, 3),
        "context_cpu_us_per_word": round(1e6 * context_cpu_s / words, 3),
        "share_of_extract": round(context_s / extract_s, 5),
        "share_of_extract_cpu": round(context_cpu_s / extract_cpu_s, 5),
        "load_rules_s": round(load_s, 3),
    }
    print(
        f"{results['context_us_per_word']} microseconds a word, "
        f"{100 * results['share_of_extract']:.2f} % of extract"
    )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
