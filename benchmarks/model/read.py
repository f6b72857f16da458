"""Prints excerpts of notes with what a bundle marks in them, for a person to read.

    python benchmarks/model/read.py NOTES [--bundle BUNDLE] [--notes 50] [--first 0]

From each of so many notes, evenly spread, 650 characters, a third into the note. What it prints is
text of notes: keep it where the notes are. What reading it showed goes to LOG.md, as counts; where
that has taught the next student something, read other notes next time (--first).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clin_edge.core.notes import read_notes
from clin_edge.runtime.pipeline import Pipeline

N_CHARS = 650


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes_file")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--notes", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first note's place, from 0")
    args = parser.parse_args()
    notes = list(read_notes([args.notes_file]))
    chosen = notes[args.first :: max(1, len(notes) // args.notes)][: args.notes]
    pipeline = Pipeline.from_bundle(args.bundle)
    for note, entities in pipeline.annotate(chosen):
        at = start = len(note.text) // 3
        end, shown = start + N_CHARS, ""
        for entity in entities:
            if at <= entity.span.start and entity.span.end <= end:
                quote = note.text[entity.span.start : entity.span.end]
                shown += f"{note.text[at : entity.span.start]}[{quote}|{entity.label}]"
                at = entity.span.end
        print(f"--- {note.id}\n{shown}{note.text[at:end]}\n")


if __name__ == "__main__":
    main()
