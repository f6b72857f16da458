"""A TOML table made a dataclass: a slip of the hand is named, in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill.config import Recipe, load_recipe


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
        pytest.param({"train": {"share": 0}}, id="nothing of the notes"),
        pytest.param({"train": {"layer_decay": 1.5}}, id="lower layers faster"),
        pytest.param({"train": {"patience": 0}}, id="no patience"),
        pytest.param({"train": {"clip_norm": 0}}, id="no step at all"),
        pytest.param({"train": {"keep_empty": 1}}, id="every empty sentence kept"),
        pytest.param({"train": {"keep_empty": 0.1, "empty_share": 0.2}}, id="two ways at once"),
        pytest.param({"head": {"kind": "softmax"}}, id="a head unheard of"),
        pytest.param({"head": {"first_pieces": True}}, id="a chain's setting without a chain"),
        pytest.param({"head": {"kind": "crf", "rate": 0}}, id="tables that do not learn"),
        pytest.param({"soft": {"weight": 1.1}}, id="more than all weight"),
        pytest.param({"soft": {"temperature": 0}}, id="no temperature"),
        pytest.param({"scratch": {"hidden": 30, "heads": 4}}, id="heads that do not fit"),
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
