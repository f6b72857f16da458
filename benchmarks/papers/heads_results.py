"""Scores, sizes and CPU speed of the students that heads.sh made: a table and its JSON.

    python benchmarks/papers/heads_results.py DATA OUT -o results/heads.json

OUT is the folder heads.sh filled. Each student is scored in float on maccrobat2020 dev and phee2
dev: entities, strictly, and as Belkadi et al. 2023 score (`clin-edge evaluate --like`). Those of
seed 1 learnt from all sentences are exported to INT8 (`clin-edge export`); each bundle reads the
same notes one at a time on two threads, in turn, so that a machine that changes speed changes it
for all. The spans of torch, of the float bundle and of the INT8 bundle are compared on the
notes of both sets.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from throughput import machine

from clin_edge.core.labelled import keep_labels, read_labelled
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.spans import Span
from clin_edge.distill.student import load_student
from clin_edge.export.evaluate import report
from clin_edge.runtime.pipeline import Pipeline

SETS = ("maccrobat2020", "phee2")
NAME = re.compile(r"(pretrained|scratch)-(linear|crf)-(full|sambd)-(\d+)")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("made", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    gold = {name: args.data / "labelled" / name / "dev.jsonl" for name in SETS}
    grid = {f.name: student_row(f, gold) for f in sorted((args.made / "grid").glob("*-?"))}
    curve = {f.name: student_row(f, gold) for f in sorted((args.made / "curve").glob("*-?"))}
    results = {"machine": machine(), "grid": grid, "curve": curve}
    write(args.out, results)
    bundles = {}
    for folder in sorted((args.made / "grid").glob("*-full-1")):
        bundles[folder.name] = {
            kind: bundle(folder, args.made / "bundles" / f"{folder.name}-{kind}", args.made, kind)
            for kind in ("fp32", "int8")
        }
    results["agreement"] = agreement(args.made, bundles, gold)
    results["calibration"] = {
        name: calibration(Pipeline.from_bundle(of["fp32"]), gold) for name, of in bundles.items()
    }
    results["bundles"] = speed(bundles, gold["maccrobat2020"])
    write(args.out, results)


def write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def student_row(folder: Path, gold: dict[str, Path]) -> dict[str, Any]:
    """Score a student, unless that was done; say what it took to train."""
    kept = folder.with_name(folder.name + ".scores.json")
    if not kept.exists():
        like = ("belkadi2023",)
        write(
            kept,
            {
                name: report(folder, read_labelled(path), other=None, like=like).as_dict()
                for name, path in gold.items()
            },
        )
    facts = json.loads((folder / "clin_edge.json").read_text(encoding="utf-8"))
    student = load_student(folder)
    parameters = sum(p.numel() for p in student.model.parameters())
    if student.crf is not None:
        parts = (student.crf.transitions, student.crf.start, student.crf.end)
        parameters += sum(part.size for part in parts)
    return {
        "parameters": parameters,
        "training_minutes": facts["training_minutes"],
        "notes": facts["notes"],
        "scores": {name: brief(s) for name, s in json.loads(kept.read_text()).items()},
    }


def brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Keep what the tables show of what ``clin-edge evaluate --json`` says."""
    strict, like = scores["strict"], scores["like"]["belkadi2023"]
    return {"strict": strict, "belkadi2023": like}


def bundle(student: Path, out: Path, made: Path, kind: str) -> Path:
    if not out.exists():
        notes = str(made / "maccrobat2020.jsonl")
        command = ["clin-edge", "export", str(student), f"--{kind}", "--calibrate", notes]
        subprocess.run([*command, "-o", str(out)], check=True)
    return out


def agreement(
    made: Path, bundles: dict[str, dict[str, Path]], gold: dict[str, Path]
) -> dict[str, Any]:
    """Count the spans of the same notes that torch, float and INT8 bundle find alike."""
    read = [item.note for path in gold.values() for item in read_labelled(path)]
    rows: dict[str, Any] = {}
    for name, of in bundles.items():
        kept = made / "bundles" / f"{name}.agreement.json"
        if kept.exists():
            rows[name] = json.loads(kept.read_text(encoding="utf-8"))
            continue
        reference = load_student(made / "grid" / name).predictor
        rows[name] = {}
        for kind, place in of.items():
            torch, ours = (
                spans(p, read) for p in (reference, Pipeline.from_bundle(place).predictor)
            )
            rows[name][kind] = {
                "notes": len(read),
                "shared": len(torch & ours),
                "only_torch": len(torch - ours),
                "only_bundle": len(ours - torch),
            }
        print(name, rows[name], flush=True)
        write(kept, rows[name])
    return rows


def spans(predictor: Predictor, notes: list[Note]) -> set[tuple[str, Span, str]]:
    return {(r.note.id, e.span, e.label) for r in predictor.read(notes) for e in r.entities}


def calibration(pipeline: Pipeline, gold: dict[str, Path]) -> dict[str, float]:
    """Say how far scores are from the share that is strictly right: expected error, ten bins."""
    types = pipeline.bundle.manifest.scheme.types
    pairs: list[tuple[float, bool]] = []
    for path in gold.values():
        items = keep_labels(read_labelled(path), types)
        read = pipeline.annotate(item.note for item in items)
        for item, (_, found) in zip(items, read, strict=True):
            right = {(e.span, e.label) for e in item.entities}
            meant = [e for e in found if e.label in item.marked]
            pairs += [(e.score, (e.span, e.label) in right) for e in meant]
    bins: dict[int, list[tuple[float, bool]]] = {}
    for pair in pairs:
        bins.setdefault(min(int(10 * pair[0]), 9), []).append(pair)
    gaps = (abs(sum(score - right for score, right in of)) for of in bins.values())
    return {
        "found": len(pairs),
        "mean_score": round(statistics.mean(score for score, _ in pairs), 4),
        "precision": round(statistics.mean(right for _, right in pairs), 4),
        "expected_calibration_error": round(sum(gaps) / len(pairs), 4),
    }


READER = """
import json, re, sys, time
from clin_edge.core.labelled import read_labelled
from clin_edge.runtime.pipeline import Pipeline
notes = [item.note for item in read_labelled(sys.argv[2])]
pipeline = Pipeline.from_bundle(sys.argv[1], threads=2)
list(pipeline.annotate(notes[:2]))
took = []
for note in notes:
    start = time.perf_counter()
    list(pipeline.annotate([note]))
    took.append(time.perf_counter() - start)
# The process's own high-water mark: getrusage would give that of the parent before exec.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
words = sum(len(note.text.split()) for note in notes)
took_s = sum(took)
print(json.dumps({"ms": 1e3 * sorted(took)[len(took) // 2], "words_s": words / took_s, "mb": peak}))
"""


def speed(bundles: dict[str, dict[str, Path]], notes: Path) -> dict[str, Any]:
    """Read the same notes one at a time with each bundle in turn; medians over rounds."""
    seen: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for name, of in bundles.items():
            for kind, place in of.items():
                command = [sys.executable, "-c", READER, str(place), str(notes)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                seen.setdefault(f"{name}-{kind}", []).append(json.loads(done.stdout))
    rows = {}
    for name, runs in seen.items():
        row = {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        place = next(p for of in bundles.values() for p in of.values() if p.name == name)
        row["size_mb"] = round(sum(f.stat().st_size for f in place.iterdir()) / 1e6, 1)
        rows[name] = row
        print(name, row, flush=True)
    return rows


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
