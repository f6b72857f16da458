"""Notes to run the commands on, and what is asked of every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET = "Zebulon"  # stands for what no message may repeat
FULL = Path("/dev/full")
NOTES = {
    "a": "Zebulon takes Metformin for diabetes.",
    "b": "",
    "ward/c": "chest\r\npain, no fever 🙂\r\n" * 7,
    "z": "no pain",
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """Stdout, which must be JSONL and nothing else."""
        *lines, last = self.out.split("\n")
        assert last == ""
        return [json.loads(line) for line in lines]


Run = Callable[..., Done]


def as_jsonl(notes: dict[str, str]) -> bytes:
    lines = [json.dumps({"id": note_id, "text": text}) + "\n" for note_id, text in notes.items()]
    return "".join(lines).encode()


def as_folder(place: Path, notes: dict[str, str] = NOTES) -> Path:
    for note_id, text in notes.items():
        path = place / f"{note_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return place


def only_line(done: Done) -> str:
    """The one line that a failed command says."""
    assert done.out == ""
    assert done.err.endswith("\n")
    (line,) = done.err.removesuffix("\n").split("\n")
    assert SECRET not in line
    assert line.startswith("clin-edge: ")
    return line.removeprefix("clin-edge: ")


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
