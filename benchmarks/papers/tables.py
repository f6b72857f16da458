"""Write the tables of README.md here from the results: what the two papers' claims come to.

python benchmarks/papers/tables.py >benchmarks/papers/README.md
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
SETS = ("maccrobat2020", "phee2")
WORDS = {"pretrained": "MiniLM, pre-trained", "scratch": "from scratch", "sambd": "SamBD"}
ARMS = {
    "ontology teacher": "ontology teacher",
    "student of ontology": "its student",
    "best merge": "best merge",
    "student of merge": "its student",
    "student of gold": "student of human labels",
}


def main() -> None:
    print((HERE / "intro.md").read_text(encoding="utf-8"))
    sections = (
        ("## Paper A: does a student beat its teachers?", "distillation", claim),
        ("## Paper B: pre-trained or not, CRF or not, SamBD or not", "heads", grid),
        ("### The same students at the edge", "heads", edge),
        ("## Learning curve", "heads", curve),
    )
    for title, name, lines in sections:
        path = RESULTS / f"{name}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            print(f"\n{title}\n")
            print("\n".join(lines(results)))


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def claim(results: dict[str, Any]) -> Iterator[str]:
    """Labels down, who labelled across."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in results["rows"]:
        ours = (row["learnt"], row["label"].replace("|", " or "))
        if not row["tp"] + row["fn"]:
            continue
        key = (f"{ours[0]} → {row['on']}", ours[1])
        cell = f"{row['f1']:.3f} ({row['f1_low']:.3f}–{row['f1_high']:.3f})"
        found.setdefault(key, {})[row["who"]] = cell
    head = ["learnt from → scored on", "label", *ARMS.values()]
    rows = [[*key, *(cells.get(arm, "–") for arm in ARMS)] for key, cells in found.items()]
    yield from table(head, rows)
    yield ""
    for name, choice in results["choices"].items():
        corpus, _, labels = name.removeprefix("merge-").partition("-")
        yield f"- {corpus}, {labels}: {choice['rule']} of {', '.join(choice['teachers'])}"


def grid(results: dict[str, Any]) -> Iterator[str]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, row in results["grid"].items():
        groups.setdefault(name.rpartition("-")[0], []).append(row)
    head = ["encoder", "head", "sentences", "parameters", "minutes"]
    for name in SETS:
        head += [f"{name}: span F1", "as the paper, with O", "without O"]
    rows = []
    for name, runs in groups.items():
        start, kind, keep = name.split("-")
        cells = [WORDS[start], kind, WORDS.get(keep, "all"), f"{runs[0]['parameters']:,}"]
        cells.append(f"{statistics.median(run['training_minutes'] for run in runs):.1f}")
        for on in SETS:
            scores = [run["scores"][on] for run in runs]
            like = [s["belkadi2023"]["tags"] for s in scores]
            cells.append(spread([s["strict"]["micro"]["f1"] for s in scores]))
            cells.append(spread([s["macro"]["f1"] for s in like]))
            cells.append(spread([s["macro_without_o"]["f1"] for s in like]))
        rows.append(cells)
    yield from table(head, rows)


def edge(results: dict[str, Any]) -> Iterator[str]:
    head = [
        "bundle",
        "MB on disk",
        "ms a note",
        "words/s",
        "peak MB",
        "spans as in torch",
        "others",
    ]
    rows = []
    for name, row in results["bundles"].items():
        student, _, kind = name.rpartition("-")
        same = results["agreement"][student][kind]
        others = f"{same['only_torch']} lost, {same['only_bundle']} new"
        figures = [f"{row['size_mb']:.1f}", f"{row['ms']:.0f}", f"{row['words_s']:,.0f}"]
        rows.append([name, *figures, f"{row['mb']:.0f}", f"{same['shared']:,}", others])
    yield from table(head, rows)


def curve(results: dict[str, Any]) -> Iterator[str]:
    points: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for name, row in results["curve"].items():
        start, share, _ = name.split("-")
        points.setdefault((start, float(share)), []).append(row)
    for name, row in results["grid"].items():
        start, head, keep, _ = name.split("-")
        if (head, keep) == ("linear", "full"):
            points.setdefault((start, 1.0), []).append(row)
    shares = sorted({share for _, share in points})
    head = ["encoder", "scored on", *(f"{share:.0%}" for share in shares)]
    rows = []
    for start in ("pretrained", "scratch"):
        for on in SETS:
            cells = [WORDS[start], on]
            for share in shares:
                runs = points.get((start, share), [])
                f1s = [run["scores"][on]["strict"]["micro"]["f1"] for run in runs]
                cells.append(spread(f1s) if f1s else "–")
            rows.append(cells)
    yield from table(head, rows)


def spread(values: list[float]) -> str:
    """Give the mean, and the standard deviation where there are several."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
