"""Recipes: every key is read, and a slip of the hand is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span, alternatives
from clin_edge.distill import config
from clin_edge.distill.config import (
    LABELS,
    Card,
    HeadSettings,
    Recipe,
    ScratchSettings,
    SetSpec,
    SoftSettings,
    TrainSettings,
    WidthSettings,
    labels_of,
    load_recipe,
)
from clin_edge.distill.invent import InventSpec
from clin_edge.distill.names import NameSettings

FULL = """
labels = ["MEDICATION", "ADE"]
encoder = "someone/encoder"
keep_layers = [0, 2]
max_tokens = 128
overlap = 16
passage_tokens = 48
words = 700

[width]
heads = 3
feed_forward = 99

[scratch]
layers = 2
hidden = 64
heads = 4
feed_forward = 100
vocabulary = "vocab.txt"
vocabulary_size = 500
lowercase = true

[head]
kind = "crf"
first_pieces = true
constrained = false
rate = 3.0

[soft]
temperature = 3.0
weight = 0.25
hidden_weight = 1.5
named = ["a.jsonl", "b.jsonl"]
named_weight = 0.7
marked = ["sig.jsonl"]

[train]
epochs = 7
learning_rate = 1e-4
warmup = 0.25
weight_decay = 0.5
clip_norm = 2.5
layer_decay = 0.9
attention_dropout = 0.1
dropout = 0.2
hide = 0.05
bfloat16 = true
rounded = true
batch_tokens = 999
patience = 2
stop_after = 4
share = 0.5
keep_empty = 0.08
seed = 3
checkpoint_minutes = 1.5

[names]
tables = ["terms.tsv"]
stop = ["water"]
narrow = true
exchange = 0.25
max_words = 3

[[invented]]
grammar = "notes"
notes = 10
seed = 4

[[sets]]
path = "a.jsonl"
name = "set a"
map = { Drug = "MEDICATION", Problem = "DISEASE|SYMPTOM" }
only = ["MEDICATION", "DISEASE"]
marked = ["MEDICATION"]
least = 2
times = 3
licence = "CC BY 4.0"

[[sets]]
path = "b"

[[dev]]
path = "dev.jsonl"

[[tests]]
path = "test.jsonl"

[card]
name = "ours"
version = "2"
encoder = "someone/encoder"
encoder_licence = "MIT"
also = ["names (CC0)"]
limits = ["one", "two"]
"""
FULL_RECIPE = Recipe(
    labels=("MEDICATION", "ADE"),
    encoder="someone/encoder",
    keep_layers=(0, 2),
    width=WidthSettings(3, 99),
    words=700,
    scratch=ScratchSettings(2, 64, 4, 100, "vocab.txt", 500, True),
    head=HeadSettings("crf", first_pieces=True, constrained=False, rate=3.0),
    soft=SoftSettings(3.0, 0.25, 1.5, ("a.jsonl", "b.jsonl"), 0.7, ("sig.jsonl",)),
    max_tokens=128,
    overlap=16,
    passage_tokens=48,
    train=TrainSettings(
        epochs=7,
        learning_rate=1e-4,
        warmup=0.25,
        weight_decay=0.5,
        clip_norm=2.5,
        layer_decay=0.9,
        attention_dropout=0.1,
        dropout=0.2,
        hide=0.05,
        bfloat16=True,
        rounded=True,
        batch_tokens=999,
        patience=2,
        stop_after=4,
        share=0.5,
        keep_empty=0.08,
        seed=3,
        checkpoint_minutes=1.5,
    ),
    names=NameSettings(("terms.tsv",), ("water",), narrow=True, exchange=0.25, max_words=3),
    invented=(InventSpec("notes", 10, seed=4),),
    sets=(
        SetSpec(
            path="a.jsonl",
            name="set a",
            map={"Drug": "MEDICATION", "Problem": "DISEASE|SYMPTOM"},
            only=("MEDICATION", "DISEASE"),
            marked=("MEDICATION",),
            least=2,
            times=3,
            licence="CC BY 4.0",
        ),
        SetSpec(path="b"),
    ),
    dev=(SetSpec(path="dev.jsonl"),),
    tests=(SetSpec(path="test.jsonl"),),
    card=Card(
        name="ours",
        version="2",
        encoder="someone/encoder",
        encoder_licence="MIT",
        also=("names (CC0)",),
        limits=("one", "two"),
    ),
)


def loaded(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


# --- what is written is what is meant ------------------------------------------------------------


def test_every_key_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, FULL) == FULL_RECIPE


def test_the_full_recipe_here_really_sets_every_key_to_something_else() -> None:
    def differs(ours: Any, usual: Any) -> None:
        for f in dataclasses.fields(ours):
            value = getattr(ours, f.name)
            if f.name == "empty_share":  # another way to say what keep_empty says
                continue
            assert value != getattr(usual, f.name), f.name
            if dataclasses.is_dataclass(value):
                differs(value, getattr(usual, f.name))

    differs(FULL_RECIPE, Recipe(labels=("X",)))
    differs(FULL_RECIPE.sets[0], SetSpec(path=""))


def test_labels_alone_make_a_recipe(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'labels = ["ADE"]') == Recipe(labels=("ADE",))


def test_a_whole_number_does_where_a_fraction_is_wanted_and_becomes_one(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, 'labels = ["A"]\ntrain = { learning_rate = 1, clip_norm = 2 }')
    assert recipe.train == TrainSettings(learning_rate=1.0, clip_norm=2.0)
    assert type(recipe.train.learning_rate) is float


def test_a_set_is_called_by_its_name_or_else_by_its_path() -> None:
    assert (SetSpec("a/b.jsonl", "b").title, SetSpec("a/b.jsonl").title) == ("b", "a/b.jsonl")


def test_a_recipe_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(FULL, encoding="utf-8")
    (tmp_path / "middle.toml").write_text(
        'extends = "base.toml"\nkeep_layers = [1]\n[train]\nepochs = 9\n', encoding="utf-8"
    )
    recipe = loaded(
        tmp_path, 'extends = "middle.toml"\n[train]\nseed = 8\n[[sets]]\npath = "c.jsonl"\n'
    )
    assert recipe == dataclasses.replace(
        FULL_RECIPE,
        keep_layers=(1,),
        train=dataclasses.replace(FULL_RECIPE.train, epochs=9, seed=8),
        sets=(SetSpec("c.jsonl"),),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends = 3", "extends: expected the path of a recipe, found 3"),
        ('extends = "recipe.toml"', "extends recipe.toml, which extends it again"),
        ('extends = "away.toml"', "cannot be read as TOML"),
    ],
)
def test_a_recipe_that_extends_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["default", "fast"])
def test_a_committed_recipe_loads_and_means_something(name: str) -> None:
    path = Path(config.__file__).parent / "recipes" / f"{name}.toml"
    recipe = load_recipe(path)
    types = set(LabelScheme(recipe.labels).types)
    assert recipe.labels == tuple(label for label in LABELS if label in types)
    assert recipe.sets
    assert recipe.dev
    assert recipe.tests
    assert recipe.card.limits
    assert recipe.card.encoder_licence
    assert all(spec.licence for spec in recipe.sets)
    for specs in (recipe.sets, recipe.dev, recipe.tests):
        titles = [spec.title for spec in specs]
        assert len(set(titles)) == len(titles)
        for spec in specs:
            assert {one for label in spec.map.values() for one in alternatives(label)} <= types
    learnt, held_out = ({s.path for s in specs} for specs in (recipe.sets, recipe.tests))
    assert not learnt & held_out
    assert not {s.path for s in recipe.dev} & learnt


# --- sets ----------------------------------------------------------------------------------------


def write_set(folder: Path) -> None:
    line = {"id": "n", "text": "aspirin for pain", "marked": ["Drug", "Problem"]}
    line["entities"] = [
        {"start": 0, "end": 7, "label": "Drug"},
        {"start": 12, "end": 16, "label": "Problem"},
    ]
    (folder / "a.jsonl").write_text(json.dumps(line) + "\n")


def test_a_set_is_read_from_the_data_folder_with_its_labels_renamed(tmp_path: Path) -> None:
    write_set(tmp_path)
    renames = {"Drug": "MEDICATION", "Problem": "DISEASE|SYMPTOM"}
    (item,) = SetSpec("a.jsonl", map=renames).read(tmp_path)
    assert item.note == Note("n", "aspirin for pain")
    assert item.entities == (
        Entity(Span(0, 7), "MEDICATION"),
        Entity(Span(12, 16), "DISEASE|SYMPTOM"),
    )
    assert item.marked == {"MEDICATION", "DISEASE|SYMPTOM"}


@pytest.mark.parametrize("marked", [(), ("MEDICATION",), ("MEDICATION", "ROUTE")])
def test_what_a_set_marks_can_be_overruled(tmp_path: Path, marked: tuple[str, ...]) -> None:
    write_set(tmp_path)
    (item,) = SetSpec("a.jsonl", map={"Drug": "MEDICATION"}, marked=marked).read(tmp_path)
    assert item.marked == frozenset(marked)
    assert [e.label for e in item.entities] == ["MEDICATION", "Problem"]


def test_a_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl: cannot be read"):
        SetSpec("absent.jsonl").read(tmp_path)


@pytest.mark.parametrize(
    ("marked", "labels"),
    [
        ([], ()),
        ([{"SYMPTOM", "MEDICATION"}], ("MEDICATION", "SYMPTOM")),
        ([{"ADE"}, {"DISEASE|SYMPTOM"}], ("DISEASE", "SYMPTOM", "ADE")),
        ([{"Zebra", "Apple"}, {"REASON", "apple"}], ("REASON", "Apple", "Zebra", "apple")),
        ([set(LABELS)], LABELS),
        ([{"DISEASE"}, {"DISEASE|B", "DISEASE"}], ("DISEASE", "B")),
    ],
)
def test_labels_come_ours_first_in_their_order_then_by_name(marked, labels) -> None:
    items = [Labelled(Note(f"n{i}", "x"), (), frozenset(m)) for i, m in enumerate(marked)]
    assert labels_of(items) == labels
    assert labels_of(reversed(items)) == labels
