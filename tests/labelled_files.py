"""What the tests of labelled notes share: files as people make them, and how they are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import (
    read_labelled,
)

SECRET = "Zebulon"


def jsonl(path: Path, *rows: object) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def row(note_id: str, text: str, *entities: tuple[int, int, str], **more: object) -> dict:
    listed = [{"start": s, "end": e, "label": lab} for s, e, lab in entities]
    return {"id": note_id, "text": text, "entities": listed, **more}


def brat(folder: Path, **notes: tuple[str, str]) -> Path:
    """A folder with ``name.txt`` and ``name.ann`` for each name, line ends as given."""
    folder.mkdir(exist_ok=True)
    for name, (text, lines) in notes.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
        (folder / f"{name}.ann").write_bytes(lines.encode())
    return folder


def found(place: Path, renames: dict[str, str] | None = None) -> list[list[tuple[int, int, str]]]:
    read = read_labelled(place, renames)
    return [[(e.span.start, e.span.end, e.label) for e in item.entities] for item in read]


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_labelled(place)
    message = str(caught.value)
    assert SECRET not in message
    assert "\n" not in message
    return message
