"""Shows where the time of reading notes goes, stage by stage, in microseconds a word.

    python benchmarks/stages.py NOTES -n 100 -o benchmarks/results/stages.json

One process with one thread, so that nothing happens beside the network; the default bundle or
--bundle; what is not in a stage of its own (batches, stitching,
decoding) is in "windows and decoding". Passages that were read before are read again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from throughput import machine, spread_notes

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.encode import Encoder
from clin_edge.core.notes import Note, read_notes
from clin_edge.core.records import Record
from clin_edge.runtime import context
from clin_edge.runtime.pipeline import Pipeline, open_default_or, open_session


class Clock:
    """Adds up the time spent in functions, by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return timed

    def each(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        pull = self.around(name, next)
        while (item := pull(items, None)) is not None:
            yield item


class Timed(Session):
    """A session whose batches are timed, one after another."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._timed = clock.around("network", session.run)

    def run(self, batch: Batch) -> Logits:
        logits: Logits = self._timed(batch)
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes")
    parser.add_argument("-n", type=int, default=100, help="how many notes, evenly spread")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here = machine()
    notes = spread_notes(args.notes, args.n)
    words = sum(len(note.text.split()) for note in notes)
    place = args.out.with_suffix(".notes.jsonl")
    place.write_text(
        "".join(json.dumps({"id": n.id, "text": n.text}) + "\n" for n in notes), encoding="utf-8"
    )
    clock = Clock()
    Encoder.encode = clock.around("tokenizer", Encoder.encode)  # type: ignore[method-assign]
    context.assertions = clock.around("context", context.assertions)
    Record.to_json = clock.around("writing", Record.to_json)  # type: ignore[method-assign]
    rounds: list[dict[str, float]] = []
    for n in range(args.rounds + 1):
        # A new one each time: words that were met before are cut faster.
        bundle = open_default_or(args.bundle)
        session = open_session(bundle, engine="auto", threads=1)
        pipeline = Pipeline(bundle, Timed(session, clock))
        clock.seconds.clear()
        began = time.perf_counter()
        with place.with_suffix(".out").open("w", encoding="utf-8") as out:
            source: Iterator[Note] = clock.each("reading", read_notes([str(place)]))
            for record in pipeline.records(source, context=True):
                out.write(record.to_json() + "\n")
        total = time.perf_counter() - began
        if n:
            rest = total - sum(clock.seconds.values())
            rounds.append({**clock.seconds, "windows and decoding": rest, "all": total})
    place.unlink()
    place.with_suffix(".out").unlink()
    stages = {
        name: round(1e6 * statistics.median(r[name] for r in rounds) / words, 2)
        for name in rounds[0]
    }
    results = {
        "machine": here,
        "bundle": pipeline.bundle.id,
        "engine": session.name,
        "engine_threads": 1,
        "notes": len(notes),
        "words": words,
        "us_per_word": stages,
        "outside_the_network": round(1 - stages["network"] / stages["all"], 4),
    }
    print(json.dumps(results, indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
