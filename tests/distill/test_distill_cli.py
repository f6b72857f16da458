"""``clin-edge distill`` as a user meets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.distill.student import load_student
from tiny import Done, cli, invented_set, n_threads, tiny_encoder, write_labelled

RECIPE = """
labels = ["MEDICATION", "DISEASE"]
max_tokens = 48
overlap = 8

[train]
epochs = 2
learning_rate = 1e-2
batch_tokens = 256
seed = 5

[[sets]]
name = "drugs"
path = "drugs.jsonl"
map = { Drug = "MEDICATION" }
licence = "CC0"

[[dev]]
path = "dev.jsonl"
"""
FEW = invented_set(6)
BOTH = frozenset({"MEDICATION", "DISEASE"})


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    with n_threads(1):
        yield partial(cli, monkeypatch, capsys)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("distill-cli") / "tiny")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with its data beside it; its set calls drugs Drug."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    drugs = write_labelled(tmp_path / "drugs.jsonl", invented_set(6, marked=["MEDICATION"]))
    drugs.write_text(drugs.read_text().replace('"MEDICATION"', '"Drug"'))
    write_labelled(tmp_path / "dev.jsonl", invented_set(4, seed=1, prefix="d"))
    return tmp_path / "recipe.toml"


def one_line(done: Done, code: int) -> str:
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith("clin-edge: ")
    return done.err.removeprefix("clin-edge: ").rstrip("\n")


def quiet_about_notes(done: Done) -> bool:
    return not any(word in done.err + done.out for word in ("metformin", "diabetes", "patient"))


def test_labelled_notes_alone_make_a_student(run, encoder: Path, tmp_path: Path) -> None:
    silver = write_labelled(tmp_path / "silver.jsonl", FEW)
    args = ("distill", silver, "-o", tmp_path / "s", "--map", "MEDICATION=Drug", "--epochs", 1)
    message = one_line(run(*args, "--student", encoder), 3)
    assert message == f"{encoder}: reads 48 tokens at most, 256 are asked for"
    done = run(*args, "--student", tiny_encoder(tmp_path / "roomy", room=256))
    assert (done.code, done.out) == (0, "")
    assert quiet_about_notes(done)
    student = load_student(tmp_path / "s")
    # Labels are those of the notes: ours first, then others.
    assert student.scheme.types == ("DISEASE", "Drug")
    assert student.facts["best_epoch"] == 1
    assert student.facts["encoder"] == "roomy"
    learnt = student.facts["recipe"]["sets"]
    assert [spec["name"] for spec in learnt] == ["silver.jsonl"]


def test_a_recipe_s_sets_are_learnt_beside_the_files(run, encoder, recipe, tmp_path) -> None:
    ills = invented_set(6, marked=["DISEASE"])  # the same notes as the recipe's set
    silver = write_labelled(tmp_path / "ills.jsonl", ills)
    more = write_labelled(tmp_path / "more.jsonl", invented_set(3, seed=7, prefix="more"))
    gold = write_labelled(tmp_path / "gold" / "held-out.jsonl", FEW)
    done = run(
        *("distill", silver, more, "--student", encoder, "-o", tmp_path / "s"),
        *("--recipe", recipe, "--dev", gold, "--seed", 11, "--learning-rate", "0.001"),
    )
    assert (done.code, done.out) == (0, "")
    assert quiet_about_notes(done)
    assert done.err.startswith("9 notes, ")  # six that two sources share, and three
    facts = load_student(tmp_path / "s").facts
    assert facts["notes"] == 9
    assert facts["encoder"] == "tiny"
    ours = {"seed": 11, "learning_rate": 0.001, "epochs": 2, "batch_tokens": 256}
    assert facts["recipe"]["train"].items() >= ours.items()
    assert set(facts["dev"][0]["strict_micro_f1"]) == {"dev.jsonl", "held-out"}


def test_a_recipe_s_data_may_lie_elsewhere(run, encoder, recipe: Path, tmp_path: Path) -> None:
    moved = tmp_path / "deep" / "recipe.toml"
    moved.parent.mkdir()
    recipe.rename(moved)
    args = ("distill", "--student", encoder, "-o", tmp_path / "s", "--recipe", moved)
    assert "drugs.jsonl: cannot be read" in one_line(run(*args), 3)
    done = run(*args, "--data", tmp_path, "--epochs", 1)
    assert done.code == 0, done.err
    assert load_student(tmp_path / "s").scheme.types == ("MEDICATION", "DISEASE")


def test_a_killed_command_goes_on_when_it_is_given_again(
    run, encoder, recipe: Path, tmp_path: Path, monkeypatch
) -> None:
    from clin_edge.distill import train as training

    def interrupt(*_: object) -> float:
        raise KeyboardInterrupt

    out = tmp_path / "s"
    args = ("distill", "--student", encoder, "-o", out, "--recipe", recipe)
    with monkeypatch.context() as patch:
        calls = iter([(0.5, 1)])
        patch.setattr(training, "_strict_micro_f1", lambda *_: next(calls, None) or interrupt())
        done = run(*args)
    assert (done.code, done.err.splitlines()[-1]) == (130, "clin-edge: stopped")
    assert not out.exists()
    refused = run(*args, "--seed", 6)
    assert refused.code == 3
    assert "unfinished run" in refused.err.splitlines()[-1]
    done = run(*args)
    assert done.code == 0, done.err
    assert done.err.startswith("resumed after epoch 1, step 0\n")
    assert "exists already" in one_line(run(*args), 3)


def test_dev_sets_of_one_name_are_both_scored_or_refused(run, encoder, recipe, tmp_path) -> None:
    places = [
        write_labelled(tmp_path / folder / "gold.jsonl", invented_set(2, seed=seed, prefix=folder))
        for seed, folder in enumerate(("a", "b"))
    ]
    done = run(
        *("distill", "--student", encoder, "-o", tmp_path / "s", "--recipe", recipe),
        *("--dev", places[0], "--dev", places[1], "--epochs", 1),
    )
    if done.code == 0:
        assert len(load_student(tmp_path / "s").facts["dev"][0]["strict_micro_f1"]) == 3
    else:
        assert "gold" in one_line(done, 3)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "nothing to learn from"),
        (("absent.jsonl",), "absent.jsonl: cannot be read"),
        (("silver.jsonl", "--map", "nonsense"), "--map nonsense: expected FROM=TO"),
        (("silver.jsonl", "--dev", "absent.jsonl"), "absent.jsonl: cannot be read"),
        (("silver.jsonl", "--student", "no-such-org/no-such-model"), "not an encoder"),
        (("silent.jsonl",), "no label"),
        (("blank.jsonl",), "no text"),
    ],
    ids=["nothing", "no file", "bad map", "no dev", "no encoder", "no label", "no text"],
)
def test_what_cannot_be_learnt_is_told_in_one_line(
    args, says: str, run, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_labelled(tmp_path / "silver.jsonl", FEW)
    silent = [Labelled(item.note, (), frozenset()) for item in FEW]
    write_labelled(tmp_path / "silent.jsonl", silent)
    blank = [Labelled(Note("n", " "), (), frozenset({"DISEASE"}))]
    write_labelled(tmp_path / "blank.jsonl", blank)
    encoder = tiny_encoder(tmp_path / "roomy", room=256)
    done = run("distill", "--student", encoder, "-o", "s", *args)
    assert says in one_line(done, 3)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("args", [["--epochs", "0"], ["--seed", "-1"], ["--learning-rate", "0"]])
def test_numbers_that_make_no_sense_are_wrong_usage(args: list[str], run, encoder, tmp_path):
    silver = write_labelled(tmp_path / "silver.jsonl", FEW)
    done = run("distill", silver, "--student", encoder, "-o", tmp_path / "s", *args)
    assert done.code == 2
    assert run("distill", silver, "-o", tmp_path / "s").code == 2


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_a_missing_install_is_named_with_its_cure(
    package: str, run, encoder: Path, tmp_path: Path, monkeypatch
) -> None:
    for name in ("checkpoint", "dataset", "encoders", "losses", "runs", "student", "train"):
        monkeypatch.delitem(sys.modules, f"clin_edge.distill.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    silver = write_labelled(tmp_path / "silver.jsonl", FEW)
    message = one_line(run("distill", silver, "--student", encoder, "-o", tmp_path / "s"), 5)
    assert message == f"{package} is not installed; run: pip install 'clin-edge[train]'"


# --- students of every kind ----------------------------------------------------------------------


def learn(run, encoder: object, recipe: Path, out: Path, *more: object) -> Done:
    args = ("--student", encoder, "-o", out, "--recipe", recipe, "--epochs", 6)
    done = run("distill", *args, *more)
    assert quiet_about_notes(done)
    return done


def test_several_seeds_make_several_students(run, encoder, recipe, tmp_path: Path) -> None:
    done = learn(run, encoder, recipe, tmp_path / "runs", "--seed", 1, "--seed", 2)
    assert done.code == 0, done.err
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "runs.json",
        "seed-1",
        "seed-2",
    ]
    rows = json.loads((tmp_path / "runs" / "runs.json").read_text())
    assert [row["seed"] for row in rows] == [1, 2]
    assert done.err.splitlines()[-1].startswith("100% of the notes: dev F1 ")
    again = learn(run, encoder, recipe, tmp_path / "runs", "--seed", 1, "--seed", 2)
    assert again.err.count("is there already") == 2


def test_a_student_follows_a_bigger_one_with_fewer_layers_and_pieces(
    run, encoder, recipe, tmp_path: Path
) -> None:
    assert learn(run, encoder, recipe, tmp_path / "big", "--head", "crf").code == 0
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("aspirin for chest pain")
    done = learn(
        run,
        encoder,
        recipe,
        tmp_path / "small",
        *("--soft-from", tmp_path / "big", "--soft-from", tmp_path / "big"),
        *("--unlabelled", notes),
        *("--keep-layers", "1", "--prune-to", notes),
    )
    assert done.code == 0, done.err
    said = done.err.splitlines()
    assert said[0] == "students followed: 2; they read all 7 notes first"
    assert said[1].startswith("7 notes, ")
    small, big = load_student(tmp_path / "small"), load_student(tmp_path / "big")
    assert small.model.config.num_hidden_layers == 1
    assert small.facts["pieces"] < small.facts["pieces_before"] == big.model.config.vocab_size
    assert small.facts["soft_from"] == ["big", "big"]
    assert (small.facts["notes"], small.facts["unlabelled"]) == (7, 1)
    assert (small.crf, big.crf is None) == (None, False)


def test_a_student_follows_bundles_too(run, encoder, recipe, tmp_path: Path) -> None:
    assert learn(run, encoder, recipe, tmp_path / "big").code == 0
    exported = run("export", tmp_path / "big", "--fp32", "--force", "-o", tmp_path / "bundle")
    assert exported.code == 0, exported.err
    follow = ("--soft-from", tmp_path / "bundle", "--soft-from", tmp_path / "big")
    done = learn(run, encoder, recipe, tmp_path / "small", *follow)
    assert done.code == 0, done.err
    assert load_student(tmp_path / "small").facts["soft_from"] == ["bundle", "big"]
    recipe.write_text(recipe.read_text() + "\n[soft]\nhidden_weight = 1.0\n")
    message = one_line(learn(run, encoder, recipe, tmp_path / "s", *follow[:2]), 3)
    assert (
        message == f"{tmp_path / 'bundle'}: a bundle shows no hidden states: leave hidden_weight 0"
    )


def test_rules_teach_a_label_that_who_is_followed_does_not_know(
    run, encoder, recipe, tmp_path: Path
) -> None:
    partly = (tmp_path / "drugs.jsonl").read_text()
    no_ills = [replace(item, marked=BOTH) for item in invented_set(6, marked=["MEDICATION"])]
    write_labelled(tmp_path / "drugs.jsonl", no_ills)
    assert learn(run, encoder, recipe, tmp_path / "big", "--epochs", 20).code == 0
    (tmp_path / "drugs.jsonl").write_text(partly)
    ills = invented_set(6, marked=["DISEASE"])  # in the notes of the recipe's set
    write_labelled(tmp_path / "rules.jsonl", ills)
    plain = recipe.read_text() + "\n[soft]\nweight = 0.5\n"
    found = {}
    for name, more in (("without", ""), ("with", 'marked = ["rules.jsonl"]\n')):
        recipe.write_text(plain + more)
        follow = ("--soft-from", tmp_path / "big", "--epochs", 20)
        done = learn(run, encoder, recipe, tmp_path / name, *follow)
        assert done.code == 0, done.err
        readings = load_student(tmp_path / name).predictor.read(item.note for item in ills)
        found[name] = [[e.span for e in r.entities if e.label == "DISEASE"] for r in readings]
    assert found["without"] == [[] for _ in ills]
    assert found["with"] == [[e.span for e in item.entities] for item in ills]


def test_hidden_states_of_several_students_are_not_followed(
    run, encoder, recipe: Path, tmp_path: Path
) -> None:
    recipe.write_text(recipe.read_text() + "\n[soft]\nhidden_weight = 1.0\n")
    two = ("--soft-from", tmp_path / "a", "--soft-from", tmp_path / "b")
    message = one_line(learn(run, encoder, recipe, tmp_path / "s", *two), 3)
    assert message == "hidden_weight follows one student: give one --soft-from, or leave it 0"


def test_scratch_needs_no_encoder_at_all(run, recipe: Path, tmp_path: Path) -> None:
    text = "\n[scratch]\nlayers = 1\nhidden = 32\nheads = 2\nfeed_forward = 64\n"
    recipe.write_text(
        'encoder = "scratch"\n' + recipe.read_text() + text + "vocabulary_size = 200\n"
    )
    done = run("distill", "--recipe", recipe, "-o", tmp_path / "s", "--epochs", 8)
    assert done.code == 0, done.err
    assert load_student(tmp_path / "s").model.config.model_type == "distilbert"


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--keep-layers", "one"), 2, "--keep-layers: expected numbers, such as 0,2,4."),
        (("--keep-layers", "7"), 3, "layer 7 cannot be kept: the encoder has 2"),
        (("--unlabelled", "x"), 2, "teach nothing without --soft-from"),
        (("--soft-from", "absent"), 3, "absent: not a student folder"),
        (("--keep-empty", "1"), 3, "keep_empty lies between 0 and 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_is_told_at_once(
    args: tuple[str, str], code: int, says: str, run, encoder, recipe, tmp_path: Path
) -> None:
    done = learn(run, encoder, recipe, tmp_path / "s", *args)
    assert done.code == code
    assert says in done.err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_without_an_encoder_the_three_ways_are_named(run, recipe: Path, tmp_path: Path) -> None:
    done = run("distill", "--recipe", recipe, "-o", tmp_path / "s")
    assert done.code == 2
    assert "a folder, a hub id, or scratch" in done.err
