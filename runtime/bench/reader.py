"""clin-edge itself as a subject: notes from a file, records into a file, in a process that stays.

Run as ``python -m clin_edge.runtime.bench.reader``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clin_edge.core.batching import Batch, Logits, Pending, Session
from clin_edge.core.notes import read_notes
from clin_edge.runtime.bench.subjects import Answerer, Subject, peak_bytes, serve, subject_command
from clin_edge.runtime.pipeline import Pipeline, open_default_or, open_session


def start_reader(order: dict[str, Any]) -> tuple[dict[str, Any], Answerer]:
    """Load the bundle, in as many processes as the order says; see ``Reader`` for the questions."""
    reader = Team(order) if order["workers"] > 1 else Reader(order)
    return {"versions": reader.versions}, reader.answer


class Reader:
    """A bundle's model, loaded as the order says.

    A question is ``{"read": [FILE…]}`` (all notes of JSONL files as one run), ``{"again": true}``
    (the batches of the last run, without all that is not the network's), or ``{"singly": FILE}``
    (each note by itself). Every run starts with a fresh pipeline: nothing that
    one run remembers makes the next one faster.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        """Load what was ordered; raises as ``Pipeline.from_bundle`` does."""
        self._bundle = open_default_or(order["bundle"])
        session = open_session(self._bundle, engine=order["engine"], threads=order["threads"])
        engine, _, version = session.name.partition(" ")
        self.versions = {engine: version}
        self._session = session
        self._last = Remembering(session)
        self._out = order["out"]

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Give the seconds of a run, of its batches by themselves, or of each note."""
        if "singly" in question:
            return self._singly(question["singly"])
        if "again" in question:
            return {"seconds": self._last.seconds_again()}
        return self._read(question["read"])

    def _read(self, files: Sequence[str]) -> dict[str, Any]:
        self._last = Remembering(self._session)
        pipeline = Pipeline(self._bundle, self._last, reuse=True)
        cpu_s, began = time.process_time(), time.perf_counter()
        with Path(self._out).open("w", encoding="utf-8") as out:
            for record in pipeline.records(read_notes(files), context=True):
                out.write(record.to_json() + "\n")
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        return {
            "seconds": seconds,
            "cpu_s": cpu_s,
            "positions": sum(batch.input_ids.size for batch in self._last.batches),
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
        """Give the seconds of the longest run, and the sums of what each says beside."""
        if "singly" in question:
            return self._first.answer(question)
        if "again" in question:
            answers = self._ask_all([question] * (1 + len(self._others)))
            return {"seconds": max(answer["seconds"] for answer in answers)}
        files, n = question["read"], 1 + len(self._others)
        answers = self._ask_all([{"read": files[place::n]} for place in range(n)])
        peaks = [answer["peak_memory_bytes"] for answer in answers]
        return {
            "seconds": max(answer["seconds"] for answer in answers),
            "cpu_s": sum(answer["cpu_s"] for answer in answers),
            "positions": sum(answer["positions"] for answer in answers),
            "peak_memory_bytes": None if None in peaks else sum(peaks),
        }

    def _ask_all(self, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask each process its question, all at once."""
        asked = [
            self._pool.submit(other.ask, question)
            for other, question in zip(self._others, questions[1:], strict=True)
        ]
        first = {**self._first.answer(questions[0]), "peak_memory_bytes": peak_bytes()}
        return [first, *(one.result() for one in asked)]

    def close(self) -> None:
        """End the other processes; they also end when this one does."""
        for other in self._others:
            other.close()


class Remembering(Session):
    """A session that remembers the ``batches`` it was given."""

    def __init__(self, session: Session) -> None:
        """Remember nothing yet."""
        self.at_once = session.at_once
        self.batches: list[Batch] = []
        self._session = session

    def run(self, batch: Batch) -> Logits:
        """Give the session's logits."""
        return self.start(batch)()

    def start(self, batch: Batch) -> Pending:
        """Have the session begin."""
        self.batches.append(batch)
        return self._session.start(batch)

    def seconds_again(self) -> float:
        """Run the same batches once more, and nothing beside; give the seconds that takes."""
        began = time.perf_counter()
        under_way: deque[Pending] = deque()
        for batch in self.batches:
            under_way.append(self._session.start(batch))
            if len(under_way) >= self.at_once:
                under_way.popleft()()
        for pending in under_way:
            pending()
        return time.perf_counter() - began


if __name__ == "__main__":
    serve(start_reader)
