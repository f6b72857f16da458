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
    Recipe,
    SetSpec,
    TrainSettings,
    labels_of,
    load_recipe,
)

FULL = """
labels = ["MEDICATION", "ADE"]
max_tokens = 128
overlap = 16

[train]
epochs = 7
learning_rate = 1e-4
warmup = 0.25
weight_decay = 0.5
clip_norm = 2.5
attention_dropout = 0.1
batch_tokens = 999
seed = 3
checkpoint_minutes = 1.5

[[sets]]
path = "a.jsonl"
name = "set a"
map = { Drug = "MEDICATION", Problem = "DISEASE|SYMPTOM" }
marked = ["MEDICATION"]
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
limits = ["one", "two"]
"""
FULL_RECIPE = Recipe(
    labels=("MEDICATION", "ADE"),
    max_tokens=128,
    overlap=16,
    train=TrainSettings(
        epochs=7,
        learning_rate=1e-4,
        warmup=0.25,
        weight_decay=0.5,
        clip_norm=2.5,
        attention_dropout=0.1,
        batch_tokens=999,
        seed=3,
        checkpoint_minutes=1.5,
    ),
    sets=(
        SetSpec(
            path="a.jsonl",
            name="set a",
            map={"Drug": "MEDICATION", "Problem": "DISEASE|SYMPTOM"},
            marked=("MEDICATION",),
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
        limits=("one", "two"),
    ),
)


def loaded(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        loaded(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'recipe.toml'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{folder / 'recipe.toml'}: ")


# --- what is written is what is meant ------------------------------------------------------------


def test_every_key_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, FULL) == FULL_RECIPE


def test_the_full_recipe_here_really_sets_every_key_to_something_else() -> None:
    def differs(ours: Any, usual: Any) -> None:
        for f in dataclasses.fields(ours):
            value = getattr(ours, f.name)
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


def test_the_committed_recipe_loads_and_means_something() -> None:
    path = Path(config.__file__).parent / "recipes" / "default.toml"
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


# --- what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labls = []", "unknown key 'labls'; did you mean 'labels'?"),
        ("labels = []\nmaxtokens = 5", "unknown key 'maxtokens'; did you mean 'max_tokens'?"),
        (
            "labels = []\n[train]\nlearning_rat = 1.0",
            "train: unknown key 'learning_rat'; did you mean 'learning_rate'?",
        ),
        (
            'labels = []\n[[sets]]\npath = "a"\n[[sets]]\npath = "b"\nmarks = []',
            "sets[1]: unknown key 'marks'; did you mean 'marked'?",
        ),
        ("labels = []\n[card]\nlimit = []", "card: unknown key 'limit'; did you mean 'limits'?"),
        ("labels = []\n[test]\nx = 1", "unknown key 'test'; did you mean 'tests'?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path, text, message) -> None:
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize("key", ["zzzzzz", "🙂", "0"])
def test_a_key_like_no_other_is_refused_all_the_same(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, f"labels = []\n{key!r} = 1").startswith(f"unknown key {key!r}; ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the key 'labels'"),
        ("max_tokens = 12", "needs the key 'labels'"),
        ('labels = []\n[[sets]]\nname = "a"', "sets[0]: needs the key 'path'"),
        ("labels = []\n[[dev]]", "dev[0]: needs the key 'path'"),
    ],
)
def test_a_key_that_must_be_there_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('labels = "ADE"', "labels: expected a list, found 'ADE'"),
        ("labels = [1]", "labels[0]: expected str, found 1"),
        ('labels = ["A", ["B"]]', "labels[1]: expected str, found ['B']"),
        ("labels = []\nmax_tokens = 12.0", "max_tokens: expected int, found 12.0"),
        ('labels = []\nmax_tokens = "12"', "max_tokens: expected int, found '12'"),
        ("labels = []\noverlap = true", "overlap: expected int, found True"),
        ("labels = []\ntrain = 5", "train: expected a table, found 5"),
        ("labels = []\n[train]\nwarmup = true", "train: warmup: expected float, found True"),
        ('labels = []\n[train]\nwarmup = "1"', "train: warmup: expected float, found '1'"),
        ('labels = []\nsets = "a.jsonl"', "sets: expected a list, found 'a.jsonl'"),
        ('labels = []\nsets = ["a.jsonl"]', "sets[0]: expected a table, found 'a.jsonl'"),
        (
            'labels = []\n[[sets]]\npath = "a"\nmap = "n2c2"',
            "sets[0]: map: expected names and values that are strings",
        ),
        (
            'labels = []\n[[sets]]\npath = "a"\nmap = { Drug = 1 }',
            "sets[0]: map: expected names and values that are strings",
        ),
        (
            'labels = []\n[[sets]]\npath = "a"\nmarked = "ADE"',
            "sets[0]: marked: expected a list, found 'ADE'",
        ),
        ('labels = []\n[card]\nlimits = "x"', "card: limits: expected a list, found 'x'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"labels": []}, id="no labels"),
        pytest.param({"labels": ["A|B"]}, id="a label with a bar"),
        pytest.param({"labels": ["A", "A"]}, id="a label twice"),
        pytest.param({"max_tokens": 8, "overlap": 8}, id="windows no longer than what they share"),
        pytest.param({"overlap": -1}, id="windows that do not meet"),
        pytest.param({"train": {"epochs": 0}}, id="no epochs"),
        pytest.param({"train": {"learning_rate": 0.0}}, id="no rate"),
        pytest.param({"train": {"batch_tokens": 0}}, id="no tokens in a batch"),
        pytest.param({"train": {"seed": -1}}, id="a seed below 0"),
        pytest.param({"dev": [{"path": "a"}, {"path": "b", "name": "a"}]}, id="two dev sets alike"),
        pytest.param({"tests": [{"path": "a"}, {"path": "a"}]}, id="two test sets alike"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_file_s_name(tmp_path, changes) -> None:
    fields = {"labels": ["A"], **changes}
    assert refusal(tmp_path, "\n".join(f"{key} = {inline(v)}" for key, v in fields.items()))


def inline(value: object) -> str:
    """Write a value as inline TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(v)}" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


@pytest.mark.parametrize("text", ["labels = [", "labels", "labels = []\nlabels = []", "\x00"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("cannot be read as TOML (")


def test_a_recipe_that_is_not_there_or_not_utf8_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(InputError, match="cannot be read as TOML") as caught:
            load_recipe(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "latin.toml").write_bytes('labels = ["Größe"]'.encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_recipe(tmp_path / "latin.toml")


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
