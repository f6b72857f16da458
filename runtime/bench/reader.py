"""clin-edge itself as a subject: notes from a file, records into a file, in a process that stays.

Run as ``python -m clin_edge.runtime.bench.reader``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.notes import read_notes
from clin_edge.runtime.bench.subjects import Answerer, Subject, peak_bytes, serve, subject_command
from clin_edge.runtime.pipeline import Pipeline, open_default_or, open_session


def start_reader(order: dict[str, Any]) -> tuple[dict[str, Any], Answerer]:
    """Load the bundle, in as many processes as the order says; see ``Reader`` for the questions."""
    reader = Team(order) if order["workers"] > 1 else Reader(order)
    return {"versions": reader.versions}, reader.answer


class Reader:
    """A bundle's model, loaded as the order says.

    A question is ``{"read": [FILE…]}`` (all notes of JSONL files as one run) or
    ``{"singly": FILE}`` (each note by itself). Every run starts with a fresh pipeline: nothing that
    one run remembers makes the next one faster.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        """Load what was ordered; raises as ``Pipeline.from_bundle`` does."""
        self._bundle = open_default_or(order["bundle"])
        session = open_session(self._bundle, engine=order["engine"], threads=order["threads"])
        engine, _, version = session.name.partition(" ")
        self.versions = {engine: version}
        self._session = TimedSession(session)
        self._out = order["out"]

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Give the seconds of a run, and those of them in the engine; or of each note."""
        if "singly" in question:
            return self._singly(question["singly"])
        return self._read(question["read"])

    def _read(self, files: Sequence[str]) -> dict[str, Any]:
        pipeline = Pipeline(self._bundle, self._session, reuse=True)
        self._session.reset()
        cpu_s, began = time.process_time(), time.perf_counter()
        with Path(self._out).open("w", encoding="utf-8") as out:
            for record in pipeline.records(read_notes(files), context=True):
                out.write(record.to_json() + "\n")
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "cpu_s": time.process_time() - cpu_s,
            "engine_s": self._session.seconds,
            "positions": self._session.positions,
        }

    def _singly(self, file: str) -> dict[str, Any]:
        seconds = []
        for note in list(read_notes([file])):
            pipeline = Pipeline(self._bundle, self._session, reuse=True)
            began = time.perf_counter()
            for record in pipeline.records([note], context=True):
                record.to_json()
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}


class Team:
    """Several readers with a process each, as ``extract`` has workers; this process is the first.

    The files of a run are dealt out to them; single notes are read by the first.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        """Share the threads out, and load what was ordered in every process."""
        workers = order["workers"]
        each = {**order, "workers": 1, "threads": max(1, order["threads"] // workers)}
        command = subject_command("clin_edge.runtime.bench.reader")
        outs = [f"{order['out']}.{number}" for number in range(1, workers)]
        self._others = [Subject("clin-edge", command, {**each, "out": out}) for out in outs]
        self._first = Reader(each)
        self._pool = ThreadPoolExecutor(len(outs))
        self.versions = self._first.versions

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Give the seconds until all are done, and the sums of what each says beside."""
        if "singly" in question:
            return self._first.answer(question)
        files, n = question["read"], 1 + len(self._others)
        began = time.perf_counter()
        asked = [
            self._pool.submit(other.ask, {"read": files[place::n]})
            for place, other in enumerate(self._others, start=1)
        ]
        answers = [self._first.answer({"read": files[::n]})]
        answers[0]["peak_memory_bytes"] = peak_bytes()
        answers += [one.result() for one in asked]
        seconds = time.perf_counter() - began
        peaks = [answer["peak_memory_bytes"] for answer in answers]
        return {
            "seconds": seconds,
            "cpu_s": sum(answer["cpu_s"] for answer in answers),
            "engine_s": sum(answer["engine_s"] for answer in answers) / n,
            "positions": sum(answer["positions"] for answer in answers),
            "peak_memory_bytes": None if None in peaks else sum(peaks),
        }

    def close(self) -> None:
        """End the other processes; they also end when this one does."""
        for other in self._others:
            other.close()


class TimedSession:
    """A session that counts ``seconds`` in it and token ``positions``, padding included."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Count from 0 again."""
        self.seconds = 0.0
        self.positions = 0

    def run(self, batch: Batch) -> Logits:
        """Give the session's logits."""
        began = time.perf_counter()
        logits = self._session.run(batch)
        self.seconds += time.perf_counter() - began
        self.positions += batch.input_ids.size
        return logits


if __name__ == "__main__":
    serve(start_reader)
