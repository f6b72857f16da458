"""Scores students and bundles on every split that none of them has learnt from.

    python benchmarks/model/scores.py first=build/first box=runtime/model --data DATA -o OUT
    python benchmarks/model/scores.py both=build/first+runtime/model --data DATA --dev-only

With ``+`` between them, several teach together: the mean of their probabilities is scored.
Strict span F1 with 95 % intervals over documents, per label; where a set does not tell diseases
from symptoms, both count. Only the splits in DEV may decide anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from throughput import machine

from clin_edge.core.decode import read_entities
from clin_edge.core.labelled import Labelled, keep_labels, read_labelled
from clin_edge.core.manifest import MANIFEST
from clin_edge.core.score import score
from clin_edge.distill.soft import SoftTeacher, soft_labels, student_teacher
from clin_edge.distill.student import load_student
from clin_edge.export.bundle_teacher import bundle_teacher
from clin_edge.export.evaluate import Found, find_with, open_predictor, scorable

EITHER = {"DISEASE": "DISEASE|SYMPTOM"}
# Of phee2's drugs only those of the event are marked, so recall alone is worth reading there.
DEV = {
    "ncbi_disease/dev": EITHER,
    "biored/dev": EITHER,
    "chia/dev": EITHER,
    "maccrobat2020/dev": {},
    "phee2/dev": {},
}
TEST = {"bc5cdr/test": EITHER, "ncbi_disease/test": EITHER}
# Of the attributes those whose boundaries are ours too, more or less.
LABELS = ("MEDICATION", "DISEASE", "SYMPTOM", "DISEASE|SYMPTOM", "ROUTE", "FREQUENCY")


Finder = Callable[[Sequence[Labelled]], Found]


def open_finder(folders: Sequence[Path]) -> tuple[Finder, tuple[str, ...]]:
    """Make students or bundles ready; give what finds with all of them, and their labels."""
    if len(folders) == 1:
        predictor = open_predictor(folders[0])
        if predictor is None:
            sys.exit(f"{folders[0]}: neither a student nor a bundle")
        return lambda gold: find_with(predictor, gold), predictor.scheme.types
    teachers = [_teacher(folder) for folder in folders]
    scheme, encoder = teachers[0].scheme, teachers[0].predictor.encoder

    def find(gold: Sequence[Labelled]) -> Found:
        notes = [item.note for item in gold]
        rows = soft_labels(notes, encoder, scheme, teachers)
        read = [(encoder.encode(n), r.astype("f4")) for n, r in zip(notes, rows, strict=True)]
        return dict(zip([n.id for n in notes], read_entities(read, scheme), strict=True))

    return find, scheme.types


def _teacher(folder: Path) -> SoftTeacher:
    if (folder / MANIFEST).is_file():
        return bundle_teacher(folder)
    return student_teacher(load_student(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", metavar="NAME=FOLDER", help="students or bundles")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dev-only", action="store_true")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    rows = []
    for word in args.what:
        name, _, folder = word.partition("=")
        find, types = open_finder([Path(one) for one in folder.split("+")])
        for split, renames in (DEV if args.dev_only else DEV | TEST).items():
            gold = read_labelled(args.data / f"labelled/{split}.jsonl", renames)
            gold = scorable(keep_labels(gold, LABELS), types)
            scores = score(gold, find(gold)).as_dict()
            for label, row in scores["labels"].items():
                rows.append({"who": name, "split": split, "label": label, **row})
                print(
                    f"{name:12} {split:18} {label:16} P {row['precision']:.3f} "
                    f"R {row['recall']:.3f} F1 {row['f1']:.3f}",
                    flush=True,
                )
    if args.out:
        whole: dict[str, Any] = {"machine": machine(), "rows": rows}
        args.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
