"""Several students in one go: where they lie, what is said of them, what is not made twice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.config import Recipe
from clin_edge.distill.runs import train_runs
from clin_edge.distill.student import FACTS_FILE
from tiny import tiny_recipe

RECIPE = tiny_recipe(epochs=2)


class Trainer:
    """Writes only the facts of a student; ``made`` names the folders."""

    def __init__(self, f1_of=lambda recipe: 0.1 * recipe.train.seed) -> None:
        self.made: list[str] = []
        self.f1_of = f1_of

    def __call__(self, recipe: Recipe, folder: Path) -> None:
        self.made.append(folder.name)
        f1 = self.f1_of(recipe)
        scores = {} if f1 is None else {"a": f1, "b": f1 + 0.2}
        facts = {
            "recipe": asdict(recipe),
            "best_epoch": 2,
            "dev": [{"strict_micro_f1": {"a": 0.9}}, {"strict_micro_f1": scores}],
            "notes": 60,
            "training_minutes": 1.5,
        }
        folder.mkdir(parents=True)
        (folder / FACTS_FILE).write_text(json.dumps(facts))


def test_every_seed_and_share_has_a_student(tmp_path: Path) -> None:
    trainer, said = Trainer(), []
    rows = train_runs(RECIPE, tmp_path, trainer, seeds=(1, 3), shares=(0.1, 1.0), say=said.append)
    names = ["share-10-seed-1", "share-10-seed-3", "share-100-seed-1", "share-100-seed-3"]
    assert trainer.made == names
    assert [row["name"] for row in rows] == names
    assert [(row["seed"], row["share"]) for row in rows] == [(1, 0.1), (3, 0.1), (1, 1), (3, 1)]
    assert [row["dev_f1"] for row in rows] == [0.2, 0.4, 0.2, 0.4]
    assert json.loads((tmp_path / "runs.json").read_text()) == rows
    assert said[-2:] == [
        "10% of the notes: dev F1 0.3000 ± 0.1414",
        "100% of the notes: dev F1 0.3000 ± 0.1414",
    ]


def test_seeds_alone_take_the_recipe_s_share(tmp_path: Path) -> None:
    trainer = Trainer(lambda recipe: recipe.train.share)
    rows = train_runs(tiny_recipe(share=0.5), tmp_path, trainer, seeds=(7,), shares=())
    assert trainer.made == ["seed-7"]
    assert rows[0]["dev_f1"] == 0.6


def test_without_a_dev_set_no_score_is_made_up(tmp_path: Path) -> None:
    said: list[str] = []
    rows = train_runs(
        RECIPE, tmp_path, Trainer(lambda _: None), seeds=(1, 2), shares=(), say=said.append
    )
    assert [row["dev_f1"] for row in rows] == [None, None]
    assert said == ["seed-1:", "seed-2:"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    train_runs(RECIPE, tmp_path, Trainer(), seeds=(1,), shares=())
    again, said = Trainer(), []
    rows = train_runs(RECIPE, tmp_path, again, seeds=(1, 2), shares=(), say=said.append)
    assert again.made == ["seed-2"]
    assert said[:2] == ["seed-1:", "is there already"]
    assert [row["name"] for row in rows] == ["seed-1", "seed-2"]


def test_a_student_made_otherwise_is_not_taken_for_this_one(tmp_path: Path) -> None:
    train_runs(RECIPE, tmp_path, Trainer(), seeds=(1,), shares=())
    with pytest.raises(InputError, match=r"seed-1: was made with other settings"):
        train_runs(tiny_recipe(epochs=3), tmp_path, Trainer(), seeds=(1,), shares=())
