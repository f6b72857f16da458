"""What seqeval, nervaluate and scikit-learn make of the same tags: the golden file of our tests.

    python -m venv peers && peers/bin/pip install seqeval==1.2.2 nervaluate==1.2.1 scikit-learn
    peers/bin/python benchmarks/peers_scores.py tests/golden/peers_scores.json

Runs in an environment of its own and imports nothing of clin-edge. seqeval comes as source only,
and building from source is not allowed where our tests run: so the peers are no dependency of the
tests, which read what they answered from the file instead (tests/core/test_score_peers.py,
tests/export/test_belkadi.py).

Tags are valid IOB2 and each token has one: on those, all agree on which entities there are. seqeval
in its strict mode ignores an I that continues nothing, nervaluate makes an entity of it; we score
entities, never tags. No case has overlapping entities, which neither peer can be given as tags.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nervaluate
from seqeval.metrics import v1
from seqeval.scheme import IOB2
from sklearn.metrics import classification_report

LABELS = ("ADE", "DOSE", "DRUG", "FORM")
MATCHES = ("strict", "exact", "partial", "ent_type")
N_RANDOM = 30
Place = tuple[int, int, str]
Notes = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the JSON file to write")
    out = parser.parse_args().out
    cases = {**made_by_hand(), **drawn()}
    # What divides by nothing is 0 to all three, and said in a warning.
    warnings.simplefilter("ignore")
    packages = ("nervaluate", "numpy", "scikit-learn", "seqeval")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    lines = [
        json.dumps(
            {
                "name": name,
                "gold": [" ".join(tags) for tags in gold],
                "predicted": [" ".join(tags) for tags in predicted],
                "seqeval": seqeval_of(gold, predicted),
                "nervaluate": nervaluate_of(gold, predicted),
                "sklearn": {
                    "tags": sklearn_of(flat(gold), flat(predicted)),
                    "types": sklearn_of(types(gold), types(predicted)),
                },
            },
            separators=(",", ":"),
        )
        for name, (gold, predicted) in cases.items()
    ]
    head = f'{{"versions": {json.dumps(versions)},\n"cases": [\n'
    out.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    print(f"{out}: {len(lines)} cases, {out.stat().st_size:,} bytes")


# --- the peers -----------------------------------------------------------------------------------


def seqeval_of(gold: Notes, predicted: Notes) -> dict[str, Any]:
    """Precision, recall, F1 and support in strict mode: by type, and the three averages."""

    def ask(average: str | None) -> Any:
        return v1.precision_recall_fscore_support(
            gold, predicted, average=average, scheme=IOB2, zero_division=0
        )

    names = v1.unique_labels(gold, predicted, IOB2)
    if not names:
        return {"types": {}}
    rows = zip(*(column.tolist() for column in ask(None)), strict=True)
    averages = {way: [float(x) for x in ask(way)] for way in ("micro", "macro", "weighted")}
    return {"types": dict(zip(names, map(list, rows), strict=True)), **averages}


def nervaluate_of(gold: Notes, predicted: Notes) -> dict[str, Any]:
    """Counts, precision, recall and F1 of each way to match: overall, and by type."""
    answered = nervaluate.Evaluator(gold, predicted, tags=list(LABELS), loader="list").evaluate()

    def row(result: Any) -> list[float]:
        counts = [result.correct, result.incorrect, result.partial, result.missed, result.spurious]
        return [*counts, result.precision, result.recall, result.f1]

    by_type = sorted(answered["entities"].items())
    return {
        "overall": {match: row(answered["overall"][match]) for match in MATCHES},
        "types": {name: {match: row(of[match]) for match in MATCHES} for name, of in by_type},
    }


def sklearn_of(gold: list[str], predicted: list[str]) -> dict[str, Any]:
    """The report with all classes, and the averages of that without O."""

    def short(rows: dict[str, Any]) -> dict[str, Any]:
        return {
            name: row if isinstance(row, float) else [float(x) for x in row.values()]
            for name, row in rows.items()
        }

    inside = sorted({*gold, *predicted} - {"O"})
    asked = {"output_dict": True, "zero_division": 0}
    answer = {"all": short(classification_report(gold, predicted, **asked))}
    if inside:
        rows = classification_report(gold, predicted, labels=inside, **asked)
        wanted = ("micro avg", "macro avg", "weighted avg")
        answer["without_o"] = short({name: rows[name] for name in wanted if name in rows})
        if "micro avg" not in rows:  # with no O anywhere it is the accuracy
            answer["without_o"]["micro avg"] = answer["all"]["accuracy"]
    return answer


def flat(notes: Notes) -> list[str]:
    return [tag for tags in notes for tag in tags]


def types(notes: Notes) -> list[str]:
    return [tag.removeprefix("B-").removeprefix("I-") for tag in flat(notes)]


# --- the cases -----------------------------------------------------------------------------------


def made_by_hand() -> dict[str, tuple[Notes, Notes]]:
    """The edges: nothing, all wrong, entities that touch, one over two and two in one."""
    drug, long_drug = (0, 2, "DRUG"), (0, 6, "DRUG")
    cases: dict[str, list[tuple[list[Place], list[Place]]]] = {
        "nothing anywhere": [([], []), ([], [])],
        "no gold": [([], [drug, (3, 5, "DOSE")]), ([], [])],
        "no prediction": [([drug, (3, 5, "DOSE")], []), ([], [])],
        "all right": [([drug, (3, 5, "DOSE")], [drug, (3, 5, "DOSE")])],
        "all labels wrong": [([drug, (3, 5, "DOSE")], [(0, 2, "DOSE"), (3, 5, "DRUG")])],
        "all places wrong": [([drug], [(2, 4, "DRUG")]), ([(5, 6, "ADE")], [(3, 4, "ADE")])],
        "touching, one label": [([drug, (2, 4, "DRUG")], [drug, (2, 4, "DRUG")])],
        "touching, made one": [([drug, (2, 4, "DRUG")], [(0, 4, "DRUG")])],
        "one, made touching": [([(0, 4, "DRUG")], [drug, (2, 4, "DRUG")])],
        "touching, two labels": [([drug, (2, 4, "DOSE")], [drug, (2, 3, "DOSE")])],
        "touching, moved by one": [([drug, (2, 4, "DRUG")], [(1, 3, "DRUG"), (3, 5, "DRUG")])],
        "one over three": [([drug, (2, 4, "DRUG"), (4, 6, "DRUG")], [long_drug])],
        "three in one": [([long_drug], [drug, (2, 4, "DRUG"), (4, 6, "DRUG")])],
        "closest is not first": [([(0, 4, "ADE"), (5, 9, "ADE")], [(2, 8, "ADE"), (8, 9, "ADE")])],
        "over two labels": [([drug, (2, 5, "DOSE")], [(0, 5, "DOSE")])],
        "every token": [([(0, 8, "FORM"), (8, 12, "ADE")], [(0, 8, "FORM"), (8, 12, "ADE")])],
    }
    return {
        name: ([tags_of(12, gold) for gold, _ in notes], [tags_of(12, found) for _, found in notes])
        for name, notes in cases.items()
    }


def drawn() -> dict[str, tuple[Notes, Notes]]:
    """Random gold, and predictions that are gold with mistakes of every kind."""
    cases = {}
    for seed in range(N_RANDOM):
        draw = random.Random(seed)
        labels = LABELS[: draw.randint(1, len(LABELS))]
        gold: Notes = []
        predicted: Notes = []
        for _ in range(draw.randint(1, 5)):
            n_tokens = draw.randint(1, 24)
            wanted = some_places(draw, n_tokens, labels)
            gold.append(tags_of(n_tokens, wanted))
            predicted.append(tags_of(n_tokens, with_mistakes(draw, n_tokens, wanted, labels)))
        cases[f"drawn {seed}"] = (gold, predicted)
    return cases


def some_places(draw: random.Random, n_tokens: int, labels: Sequence[str]) -> list[Place]:
    places, at = [], 0
    while at < n_tokens:
        end = min(at + draw.choice((1, 1, 2, 3, 5)), n_tokens)
        if draw.random() < 0.5:
            places.append((at, end, draw.choice(labels)))
        at = end if draw.random() < 0.6 else end + 1
    return places


def with_mistakes(
    draw: random.Random, n_tokens: int, places: Sequence[Place], labels: Sequence[str]
) -> list[Place]:
    changed = []
    for start, end, label in places:
        way = draw.choice(("keep", "keep", "keep", "drop", "move", "move", "rename", "halve"))
        if way == "drop":
            continue
        if way == "move":
            start = max(0, start + draw.choice((-2, -1, 0, 1)))
            end = min(n_tokens, end + draw.choice((-1, 0, 1, 2)))
        if way == "rename":
            label = draw.choice(labels)
        if way == "halve" and end - start > 1:
            changed.append((start, start + 1, label))
            start += 1
        changed.append((start, end, label))
    changed += [place for place in some_places(draw, n_tokens, labels) if draw.random() < 0.2]
    draw.shuffle(changed)
    kept: list[Place] = []
    for start, end, label in changed:
        if start < end and all(end <= other[0] or other[1] <= start for other in kept):
            kept.append((start, end, label))
    return kept


def tags_of(n_tokens: int, places: Sequence[Place]) -> list[str]:
    tags = ["O"] * n_tokens
    for start, end, label in places:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


if __name__ == "__main__":
    main()
