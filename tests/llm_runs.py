"""Runs of ``label`` against the loopback server: quick, with invented notes and a key."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clin_edge.cli import main
from clin_edge.core.labelled import Labelled, labelled_json
from clin_edge.core.notes import Note, NoteFormat
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.labelling.files import Tally
from clin_edge.distill.labelling.label import label_notes
from clin_edge.distill.teachers.llm.asking import Asking
from clin_edge.distill.teachers.llm.sender import Patience
from clin_edge.distill.teachers.llm.teacher import LlmSettings
from llm_server import AnswerTable, LlmServer

KEY = "sk-secret-4711"
LABELS = ("MEDICATION", "DISEASE")
SPECS = {"openai": "openai:toy", "gemini": "gemini:toy-2"}
NAMES = {"openai": "openai-toy", "gemini": "gemini-toy-2"}
_MARK = re.compile(r"\[([^|\]]+)\|([A-Z]+)\]")


def marked(note_id: str, text: str) -> Labelled:
    """A labelled note from text such as ``took [aspirin|MEDICATION] at night``."""
    plain, at, entities = "", 0, []
    for mark in _MARK.finditer(text):
        plain += text[at : mark.start()]
        entities.append(Entity(Span(len(plain), len(plain) + len(mark[1])), mark[2]))
        plain += mark[1]
        at = mark.end()
    return Labelled(Note(note_id, plain + text[at:]), tuple(entities), frozenset(LABELS))


def some(n: int) -> list[Labelled]:
    """Notes n0, n1 and so on, each with a text of its own and a drug and a disease."""
    text = "Visit {}. Took [aspirin|MEDICATION] and [zinc|MEDICATION] for [gout|DISEASE]."
    return [marked(f"n{i}", text.format(i)) for i in range(n)]


def claims(item: Labelled) -> Iterator[dict[str, Any]]:
    """The entities as a model should claim them, with their places."""
    text = item.note.text
    for entity in item.entities:
        start, end = entity.span.start, entity.span.end
        near = " ".join(text[max(start - 40, 0) : start].split()[-3:])
        claim = {"near": near, "quote": text[start:end], "label": entity.label}
        yield {"start": start, "end": end, "item": claim}


def answers(items: Iterable[Labelled]) -> AnswerTable:
    """A model that knows these notes."""
    return AnswerTable({"text": i.note.text, "items": list(claims(i))} for i in items)


def write_notes(path: Path, items: Iterable[Labelled]) -> str:
    """Write the notes alone; gives the path."""
    lines = (json.dumps({"id": i.note.id, "text": i.note.text}) + "\n" for i in items)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def write_labelled(path: Path, items: Iterable[Labelled]) -> Path:
    """Write the notes with their labels; gives the path."""
    path.write_text("".join(labelled_json(i) + "\n" for i in items), encoding="utf-8")
    return path


def quick(server: LlmServer | str, cache: Path, **changes: Any) -> Asking:
    """Ask this server, and soon give up."""
    usual: dict[str, Any] = {
        "labels": LABELS,
        "base_url": server if isinstance(server, str) else server.openai_url,
        "cache": cache,
        "timeout_s": 20.0,
        "patience": Patience(retries=1, backoff_s=0.001),
        "settings": LlmSettings(tries=2),
    }
    return Asking(**{**usual, **changes})


def run(
    items: Iterable[Labelled], specs: Iterable[str], out: Path, asking: Asking, concurrency: int = 4
) -> dict[str, Tally]:
    """Label the notes; see ``label_notes``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    notes = write_notes(out.with_suffix(".notes.jsonl"), items)
    return label_notes(
        [notes], NoteFormat(), list(specs), out, None, asking=asking, concurrency=concurrency
    )


def command(args: list[str]) -> None:
    """Run ``clin-edge`` in a process of its own, without a word."""
    # A shell's background jobs ignore interrupts, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["OPENAI_API_KEY"] = KEY
    with Path(os.devnull).open("w") as sys.stderr:
        main(args)


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file; none if it is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def places(row: dict[str, Any]) -> list[tuple[int, int, str]]:
    """The entities of a line of labels."""
    return [(e["start"], e["end"], e["label"]) for e in row["entities"]]


def truth(item: Labelled) -> list[tuple[int, int, str]]:
    """The entities of a note."""
    return [(e.span.start, e.span.end, e.label) for e in item.entities]
