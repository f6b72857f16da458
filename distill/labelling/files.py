"""What labelling leaves behind for a teacher: labels, notes set aside, and a report."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from clin_edge.core.errors import TeacherError
from clin_edge.core.labelled import labelled_json
from clin_edge.core.notes import Note
from clin_edge.distill.teachers import Teacher
from clin_edge.distill.teachers.llm.sender import Spent
from clin_edge.distill.teachers.llm.teacher import Asked, LlmTeacher

_DOLLARS = 6  # decimals


@dataclass(slots=True)
class Tally:
    """What a teacher did, added up over the notes.

    Attributes:
        entities: By label; labels it marks and never found are there with 0.
        labelled: How many notes it labelled.
        set_aside: How many it did not, by reason.
        placed: Mentions by the way they were placed (language models only).
        dropped: Mentions that were not, by reason (likewise).
        spent: What its replies took, in this run and before (likewise).
        now: What this run took (likewise).
    """

    entities: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    spent: Spent = field(default_factory=Spent)
    now: Spent = field(default_factory=Spent)


class Sheet:
    """The files of one teacher; they take their names when ``publish`` is called."""

    def __init__(self, teacher: Teacher, out: Path, labels: frozenset[str] | None) -> None:
        self.teacher = teacher
        self.path = out / f"{teacher.name}.jsonl"
        self._aside = out / "quarantine" / f"{teacher.name}.jsonl"
        self._report = out / f"{teacher.name}.report.json"
        kept = teacher.marked if labels is None else teacher.marked & labels
        self.tally = Tally(Counter(dict.fromkeys(sorted(kept), 0)))
        self._streams: dict[Path, IO[str]] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Sheet:
        self._closing.__enter__()
        self._stream(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.__exit__(kind, error, trace)
        for path in self._streams:
            _part(path).unlink(missing_ok=True)
        with suppress(OSError):  # it holds something, or was never made
            self._aside.parent.rmdir()

    def write(self, note: Note, asked: Asked) -> None:
        """Write what became of a note."""
        tally = self.tally
        tally.placed += asked.placed
        tally.spent += asked.spent
        item = asked.labelled
        if item is None:
            tally.set_aside[asked.reason] += 1
            line = json.dumps({"id": note.id, "reason": asked.reason}, ensure_ascii=False)
            self._stream(self._aside).write(line + "\n")
            return
        tally.labelled += 1
        tally.entities.update(entity.label for entity in item.entities)
        tally.dropped.update(item.dropped)
        more = {"usage": _spent(asked.spent)} if isinstance(self.teacher, LlmTeacher) else {}
        self._stream(self.path).write(labelled_json(item, **more) + "\n")

    def check(self) -> None:
        """Refuse a teacher that had no answer to any note.

        Raises:
            TeacherError: With the reason met most often.
        """
        if self.tally.set_aside and not self.tally.labelled:
            reason, _ = self.tally.set_aside.most_common(1)[0]
            raise TeacherError(
                f"{self.teacher.name}: no usable answer to any of "
                f"{self.tally.set_aside.total():,} notes, mostly: {reason}"
            )

    def publish(self) -> None:
        """Give the files their names; those of an earlier run that have no successor go."""
        teacher = self.teacher
        if isinstance(teacher, LlmTeacher):
            self.tally.now = teacher.sender.total
            report = json.dumps(_report(teacher, self.tally), indent=1, ensure_ascii=False)
            self._stream(self._report).write(report + "\n")
        self._closing.close()
        for path in (self._aside, self._report, self.path):
            if path in self._streams:
                _part(path).replace(path)
            else:
                path.unlink(missing_ok=True)
            for left in path.parent.glob(f".{path.name}.*.part"):  # by a run that was killed
                left.unlink(missing_ok=True)

    def _stream(self, path: Path) -> IO[str]:
        if path not in self._streams:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = _part(path).open("w", encoding="utf-8", newline="\n")
            self._streams[path] = self._closing.enter_context(stream)
        return self._streams[path]


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _report(teacher: LlmTeacher, tally: Tally) -> dict[str, object]:
    return {
        "teacher": teacher.name,
        "model": teacher.model,
        "host": teacher.host,
        "prompt": teacher.prompt.version,
        "labels": sorted(teacher.marked),
        "price": asdict(teacher.sender.price),
        "notes": {"labelled": tally.labelled, "set_aside": dict(tally.set_aside)},
        "entities": dict(tally.entities),
        "placed": dict(tally.placed),
        "dropped": dict(tally.dropped),
        "usage": _spent(tally.spent),
        "usage_this_run": _spent(tally.now),
    }


def _spent(spent: Spent) -> dict[str, object]:
    usage = spent.usage
    fields: dict[str, object] = {
        "replies": spent.replies,
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
        "cost_usd": round(spent.cost, _DOLLARS),
    }
    if spent.uncounted:
        fields["uncounted_replies"] = spent.uncounted
    return fields
