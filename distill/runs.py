"""Several students in one go: seeds, to see what chance does, and shares, for a learning curve."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clin_edge.core.errors import InputError
from clin_edge.distill.config import Recipe
from clin_edge.distill.student import FACTS_FILE

SUMMARY = "runs.json"
Train = Callable[[Recipe, Path], object]


def train_runs(
    recipe: Recipe,
    out: Path,
    train: Train,
    *,
    seeds: Sequence[int],
    shares: Sequence[float],
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train a student for every share and seed; give a row for each, also kept in ``runs.json``.

    Students lie in ``OUT/seed-3``, or ``OUT/share-25-seed-3`` where shares are asked for. One that
    is there already, made with the same settings, is not made again.

    Args:
        recipe: What they share.
        out: The folder to fill.
        train: Makes one student in a folder.
        seeds: At least one.
        shares: Shares of the notes in (0, 1]; none means all of them.
        say: Told a line before each, and one for each share at the end.

    Raises:
        InputError: If a student is there that was made otherwise.
    """
    rows = []
    for share in shares or (recipe.train.share,):
        for seed in seeds:
            settings = dataclasses.replace(recipe.train, seed=seed, share=share)
            one = dataclasses.replace(recipe, train=settings)
            name = f"share-{100 * share:g}-seed-{seed}" if shares else f"seed-{seed}"
            say(f"{name}:")
            if (out / name / FACTS_FILE).exists():
                say("is there already")
            else:
                train(one, out / name)
            rows.append({"name": name, "share": share, "seed": seed, **_row(out / name, one)})
            text = json.dumps(rows, indent=2)
            (out / SUMMARY).write_text(text + "\n", encoding="utf-8")
    for share in shares or (recipe.train.share,):
        scores = [row["dev_f1"] for row in rows if row["share"] == share]
        if scores[0] is not None:
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            say(f"{share:.0%} of the notes: dev F1 {statistics.mean(scores):.4f} ± {spread:.4f}")
    return rows


def _row(folder: Path, recipe: Recipe) -> dict[str, Any]:
    facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    asked = json.loads(json.dumps(dataclasses.asdict(recipe)))
    if facts["recipe"] != asked:
        raise InputError(
            f"{folder}: was made with other settings; choose another folder, or delete this one"
        )
    scores = list(facts["dev"][facts["best_epoch"] - 1]["strict_micro_f1"].values())
    return {
        "dev_f1": round(statistics.mean(scores), 4) if scores else None,
        "best_epoch": facts["best_epoch"],
        "notes": facts["notes"],
        "training_minutes": facts["training_minutes"],
    }
