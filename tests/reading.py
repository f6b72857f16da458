"""What the tests of reading notes share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.notes import NoteFormat, read_notes

SECRET = "Zebulon"  # stands for what no message may repeat
BOM = b"\xef\xbb\xbf"


def pairs(*places: Path | str, fmt: NoteFormat | None = None) -> list[tuple[str, str]]:
    return [(note.id, note.text) for note in read_notes(map(str, places), fmt)]


def refusal(*places: Path | str, fmt: NoteFormat | None = None) -> str:
    """The message that reading ends with: one line, with the right exit code, telling no text."""
    with pytest.raises(InputError) as caught:
        list(read_notes(map(str, places), fmt))
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in message
    assert SECRET not in message
    return message


def line(note_id: object, text: object) -> bytes:
    return json.dumps({"id": note_id, "text": text}, ensure_ascii=False).encode() + b"\n"
