"""Scores of the teachers, merges and students that distillation.sh made: a table's JSON.

    python benchmarks/papers/distillation_results.py OUT -o results/distillation.json

OUT is the folder distillation.sh filled. Strict F1 with its 95 % interval by `clin-edge evaluate`.
The external sets, biored dev and chia dev, chose nothing and were not learnt from; no open set that
tells symptoms apart is left for SYMPTOM.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from throughput import machine

TESTS = {"bc5cdr": "test", "ncbi_disease": "test", "maccrobat2020": "dev"}
EXTERNAL = ("biored/dev", "chia/dev")
ARMS = ("ontology", "merge", "gold")
# Which file of the ontology teacher marks a label.
ONTOLOGY = {"MEDICATION": "rxnorm", "DISEASE": "snomed", "SYMPTOM": "snomed"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("made", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    made, rows = args.made.resolve(), []
    minutes: dict[str, float] = {}
    for corpus, split in TESTS.items():
        gold = made / "gold" / corpus / f"{split}.jsonl"
        for kind in ("rxnorm", "snomed"):
            said = made / "labels" / corpus / split / f"{kind}.jsonl"
            if said.exists():
                rows += of_teacher("ontology teacher", corpus, said, gold, kind)
        for silver in sorted(made.glob(f"silver-{corpus}-{split}-*.jsonl")):
            kind = "rxnorm" if "MEDICATION" in silver.name else "snomed"
            rows += of_teacher("best merge", corpus, silver, gold, kind)
        for arm in ARMS:
            student = made / f"student-{corpus}-{arm}"
            if not student.exists():
                continue
            facts = json.loads((student / "clin_edge.json").read_text(encoding="utf-8"))
            minutes[student.name] = facts["training_minutes"]
            for name, place in {f"{corpus}/{split}": gold, **external(made)}.items():
                for label, row in evaluate(student, place).items():
                    if label == "MEDICATION" and corpus == "ncbi_disease":
                        continue  # which it was never taught
                    said = {"who": f"student of {arm}", "learnt": corpus, "on": name}
                    rows.append({**said, "label": label} | row)
    choices = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["choice"]
        for path in sorted(made.glob("merge-*.json"))
    }
    results = {"machine": machine(), "choices": choices, "training_minutes": minutes, "rows": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"{row['who']:20} {row['learnt']:14} {row['on']:18} {row['label']:16} "
            f"{row['f1']:.3f} [{row['f1_low']:.3f}-{row['f1_high']:.3f}]"
        )


def external(made: Path) -> dict[str, Path]:
    return {name: made / "gold" / f"{name}.jsonl" for name in EXTERNAL}


def of_teacher(who: str, corpus: str, said: Path, gold: Path, kind: str) -> list[dict[str, Any]]:
    """Score the labels that a teacher's file is about."""
    return [
        {"who": who, "learnt": corpus, "on": f"{corpus}/{gold.stem}", "label": label} | row
        for label, row in evaluate(said, gold).items()
        if ONTOLOGY[label.split("|")[0]] == kind
    ]


def evaluate(what: Path, gold: Path) -> dict[str, dict[str, Any]]:
    """Give the rows of each label; what was scored before is not scored again."""
    name = "-".join((*what.parts[-3:], *gold.parts[-2:])) + ".json"
    kept = gold.parents[2] / "scores" / name
    if not kept.exists():
        command = ["clin-edge", "evaluate", str(what), str(gold), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(done.stdout)
    labels: dict[str, dict[str, Any]] = json.loads(kept.read_bytes())["strict"]["labels"]
    return labels


if __name__ == "__main__":
    main()
