"""The training loop: it learns, it goes on after a crash, it keeps the best epoch."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from clin_edge.core.errors import ClinEdgeError, InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.core.score import score
from clin_edge.core.spans import Entity, Span
from clin_edge.distill import train as training
from clin_edge.distill.dataset import join_sources
from clin_edge.distill.student import Student, TorchSession, load_student
from clin_edge.distill.train import train
from tiny import (
    DRUGS,
    ILLNESSES,
    TYPES,
    either,
    invented_set,
    n_threads,
    tiny_encoder,
    tiny_recipe,
    tiny_student,
)

ITEMS = invented_set(60)
DEV = {"dev": invented_set(20, seed=9, prefix="d")}
FEW = ITEMS[:8]
SHORT = {"epochs": 2, "batch_tokens": 100}


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On one thread, so that a subprocess is sure to sum in the same order."""
    with n_threads(1):
        yield


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("train") / "tiny"))


@pytest.fixture(scope="module")
def unbroken(encoder: str, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The weights of a short run that nothing interrupts."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    train(tiny_recipe(**SHORT), FEW, {"dev": FEW}, encoder, out)
    return weights(out)


def weights(folder: Path) -> list[bytes]:
    tensors = load_file(folder / "model.safetensors")
    return [tensors[name].numpy().tobytes() for name in sorted(tensors)]


def entities_of(student: Student, notes: list[Note]) -> dict[str, list[Entity]]:
    predictor = Predictor(student.encoder, student.scheme, TorchSession(student.model))
    return {reading.note.id: reading.entities for reading in predictor.read(notes)}


def f1_of(student: Student, gold: list[Labelled]) -> dict[str, float]:
    found = entities_of(student, [item.note for item in gold])
    result = score(gold, found, n_resamples=1)
    return {"micro": result.micro.counts.f1} | {
        label: row.counts.f1 for label, row in result.by_label.items()
    }


# --- it learns -----------------------------------------------------------------------------------


def test_it_learns_invented_notes(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "deep" / "student"
    student = train(tiny_recipe(), ITEMS, DEV, encoder, out, say=said.append)
    assert f1_of(student, DEV["dev"])["micro"] > 0.9
    assert sorted(path.name for path in out.parent.iterdir()) == ["student"]
    opened = load_student(out)
    assert entities_of(opened, [i.note for i in ITEMS]) == entities_of(
        student, [i.note for i in ITEMS]
    )
    facts = opened.facts
    assert facts["encoder"] == "tiny"
    assert facts["notes"] == 60
    assert facts["recipe"]["train"]["seed"] == 1
    assert set(facts["made_with"]) == {"clin-edge", "torch", "transformers"}
    f1s = [epoch["strict_micro_f1"]["dev"] for epoch in facts["dev"]]
    assert facts["best_epoch"] == f1s.index(max(f1s)) + 1
    assert f1_of(opened, DEV["dev"])["micro"] == pytest.approx(max(f1s))
    assert said[0].startswith("60 notes, 60 windows, ")
    assert [line.split(":")[0] for line in said[1:-1]] == [f"epoch {n}" for n in range(1, 11)]
    assert said[-1].startswith(f"kept epoch {facts['best_epoch']}, ")
    assert not any(word in line for line in said for word in (*DRUGS, *ILLNESSES))


def test_sets_that_mark_one_label_each_teach_both(encoder: str, tmp_path: Path) -> None:
    """What a source does not mark it does not deny: neither label puts the other down."""
    drugs = invented_set(40, seed=1, marked=["MEDICATION"], prefix="a")
    ills = invented_set(40, seed=2, marked=["DISEASE"], prefix="b")
    items = join_sources([drugs, ills])
    student = train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    f1s = f1_of(student, DEV["dev"])
    assert min(f1s.values()) > 0.9, f1s


def test_sets_that_deny_what_they_do_not_mark_would_not(encoder: str, tmp_path: Path) -> None:
    """The test above could fail: the same notes, their silence taken for an answer."""
    items = []
    for seed, label in ((1, "MEDICATION"), (2, "DISEASE")):
        for item in invented_set(40, seed=seed, marked=[label], prefix=label):
            items.append(Labelled(item.note, item.entities, frozenset(TYPES)))
    student = train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    assert min(f1_of(student, DEV["dev"]).values()) < 0.8


def test_one_of_two_labels_is_learnt_as_either(encoder: str, tmp_path: Path) -> None:
    student = train(tiny_recipe(), either(ITEMS), {}, encoder, tmp_path / "out")
    assert f1_of(student, either(DEV["dev"]))["micro"] > 0.9


# --- the same run, the same weights --------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    encoder: str, tmp_path: Path, unbroken: list[bytes]
) -> None:
    again = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    train(again, FEW, {"dev": FEW}, encoder, tmp_path / "again")
    assert weights(tmp_path / "again") == unbroken
    train(tiny_recipe(**SHORT, seed=2), FEW, {"dev": FEW}, encoder, tmp_path / "other")
    assert weights(tmp_path / "other") != unbroken


def dying_at(nth: int, act: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Do ``act`` as ever, but die at its n-th call, before or after it."""
    calls = itertools.count(1)

    def run(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        if call == nth and not after:
            raise Killed
        done = act(*args, **kwargs)
        if call == nth:
            raise Killed
        return done

    return run


# With these notes an epoch has three batches: saves come after each, and at the epoch's end.
FIRST_SAVE = ("save_checkpoint", 1, False)


@pytest.mark.parametrize(
    ("where", "nth", "after"),
    [
        pytest.param(*FIRST_SAVE, id="before the first save"),
        pytest.param("save_checkpoint", 2, True, id="within the first epoch"),
        pytest.param("save_checkpoint", 3, True, id="after an epoch's last step, before its end"),
        pytest.param("replace_folder", 1, True, id="best is kept, the checkpoint is not yet"),
        pytest.param("save_checkpoint", 4, True, id="between epochs"),
        pytest.param("save_checkpoint", 6, True, id="within the second epoch"),
        pytest.param("_learn", 5, True, id="a step after the checkpoint"),
        pytest.param("save_checkpoint", 8, True, id="when all is learnt"),
        pytest.param("load_student", 1, False, id="when all is done"),
    ],
)
def test_a_run_that_dies_ends_with_the_weights_of_an_unbroken_one(
    where: str, nth: int, after: bool, encoder: str, tmp_path: Path, unbroken, monkeypatch
) -> None:
    recipe = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(training, where, dying_at(nth, getattr(training, where), after=after))
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, out)
    if where != "load_student":
        assert not out.exists()
        said: list[str] = []
        train(recipe, FEW, {"dev": FEW}, encoder, out, say=said.append)
        assert said[0].startswith("resumed after") == ((where, nth, after) != FIRST_SAVE)
    assert weights(out) == unbroken
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_dies_again_and_again_gets_there_too(
    encoder: str, tmp_path: Path, unbroken: list[bytes], monkeypatch
) -> None:
    recipe = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    n_deaths, learn = 0, training._learn
    with monkeypatch.context() as patch:
        for _ in range(10):
            patch.setattr(training, "_learn", dying_at(2, learn, after=True))
            try:
                train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
                break
            except Killed:
                n_deaths += 1
    assert n_deaths == 5
    assert weights(tmp_path / "out") == unbroken


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from clin_edge.distill import checkpoint
from clin_edge.distill.train import train
from tiny import invented_set, tiny_recipe

torch.set_num_threads(1)
n_moves, move = 0, Path.replace

def replace(self, target):
    global n_moves
    done = move(self, target)
    if self.name == "checkpoint":  # the old one is out of the way, the new one not yet there
        n_moves += 1
        if n_moves == 4:
            os.kill(os.getpid(), signal.SIGKILL)
    return done

Path.replace = replace
items = invented_set(60)[:8]
recipe = tiny_recipe(epochs=2, batch_tokens=100, checkpoint_minutes=0.0)
train(recipe, items, {"dev": items}, sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_a_process_killed_while_it_saves_is_gone_on_from(
    encoder: str, tmp_path: Path, unbroken: list[bytes]
) -> None:
    out = tmp_path / "out"
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, encoder, str(out)],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    work = tmp_path / "out.training"
    assert not out.exists()
    assert not (work / "checkpoint").exists()
    assert (work / "checkpoint.old").exists()
    said: list[str] = []
    recipe = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    train(recipe, FEW, {"dev": FEW}, encoder, out, say=said.append)
    assert said[0] == "resumed after epoch 1, step 0"
    assert weights(out) == unbroken
    assert not work.exists()


def test_a_run_that_dies_while_it_clears_up_is_not_in_the_way_of_another(
    encoder: str, tmp_path: Path, unbroken: list[bytes], monkeypatch
) -> None:
    recipe, out = tiny_recipe(**SHORT), tmp_path / "out"
    clear = shutil.rmtree

    def dying(place: Path, **how: Any) -> None:
        if place.name == "out.training":
            raise Killed
        clear(place, **how)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, out)
    assert weights(out) == unbroken
    clear(out)
    train(recipe, FEW, {"dev": FEW}, encoder, out)
    assert weights(out) == unbroken


# --- which epoch is kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f1s", "best"),
    [
        ([[0.1], [0.9], [0.5]], 2),
        ([[0.5], [0.5], [0.5]], 1),
        ([[0.0], [0.0], [0.0]], 1),
        ([[0.1], [0.2], [0.3]], 3),
        ([[0.9, 0.1], [0.6, 0.6], [0.1, 0.9]], 2),
    ],
    ids=["the middle", "first of equals", "even if all fail", "the last", "the mean of two sets"],
)
def test_the_epoch_with_the_best_dev_score_is_kept(f1s, best, encoder, tmp_path, monkeypatch):
    fakes = iter([f1 for epoch in f1s for f1 in epoch])
    seen: list[list[bytes]] = []

    def fake(student: Student, _: object) -> float:
        state = student.model.state_dict()
        seen.append([state[name].numpy().tobytes() for name in sorted(state)])
        return next(fakes)

    monkeypatch.setattr(training, "_strict_micro_f1", fake)
    dev = {f"set {i}": FEW for i in range(len(f1s[0]))}
    out = tmp_path / "out"
    student = train(tiny_recipe(epochs=3, batch_tokens=200), FEW, dev, encoder, out)
    assert weights(out) == seen[(best - 1) * len(dev)]
    assert len({tuple(state) for state in seen}) == 3
    assert student.facts["best_epoch"] == best
    assert [list(e["strict_micro_f1"].values()) for e in student.facts["dev"]] == f1s[:best]


def test_without_a_dev_set_the_last_epoch_is_kept(encoder: str, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = tiny_recipe(epochs=3, batch_tokens=200)
    student = train(recipe, FEW, {}, encoder, tmp_path / "out", say=said.append)
    assert student.facts["best_epoch"] == 3
    assert [line.endswith("dev F1: no dev set") for line in said[1:-1]] == [True] * 3


def test_the_best_epoch_of_before_a_crash_is_remembered(encoder, tmp_path, monkeypatch) -> None:
    f1s = iter([0.9, 0.2, 0.3])
    monkeypatch.setattr(training, "_strict_micro_f1", lambda *_: next(f1s))
    recipe = tiny_recipe(epochs=3, batch_tokens=200)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "save_checkpoint", dying_at(2, training.save_checkpoint, after=True)
        )
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    student = train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    assert student.facts["best_epoch"] == 1


# --- how it steps --------------------------------------------------------------------------------


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    rates = [training._rate_factor(step, 20, 0.25) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == pytest.approx([n / 15 for n in range(15, 0, -1)])
    for warmup in (0.0, 0.01, 1.0):
        rates = [training._rate_factor(step, 7, warmup) for step in range(7)]
        assert max(rates) == 1
        assert min(rates) > 0
    assert training._rate_factor(0, 1, 0.1) == 1


def test_biases_and_the_scales_of_layer_norms_do_not_decay(tmp_path: Path) -> None:
    model = tiny_student(tmp_path).model
    decayed, spared = training._parameter_groups(model, 0.25)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.25, 0.0)
    places = {id(p): name for name, p in model.named_parameters()}
    names = [{places[id(p)] for p in group["params"]} for group in (decayed, spared)]
    assert names[0] | names[1] == set(places.values())
    assert all(n.endswith("bias") or "LayerNorm" in n for n in names[1])
    assert not any(n.endswith("bias") or "LayerNorm" in n for n in names[0])


def test_progress_is_told_while_an_epoch_lasts(encoder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "SAY_EVERY_S", -1.0)
    said: list[str] = []
    train(tiny_recipe(**SHORT), FEW, {}, encoder, tmp_path / "out", say=said.append)
    steps = [line for line in said if ", step " in line]
    assert steps
    assert steps[0].startswith("epoch 1/2, step 1/")
    assert steps[-1].endswith("about 0 min left")


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_an_out_that_exists_is_refused_and_left_alone(what: str, encoder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if what == "folder":
        out.mkdir()
    else:
        out.write_text("mine")
    with pytest.raises(InputError, match=r"out: exists already"):
        train(tiny_recipe(), FEW, {}, encoder, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert what == "folder" or out.read_text() == "mine"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"items": FEW[:-1]}, id="other notes"),
        pytest.param(
            {"items": invented_set(60, marked=["DISEASE"])[:8]}, id="other labels on them"
        ),
        pytest.param({"recipe": tiny_recipe(**SHORT, seed=5)}, id="another seed"),
        pytest.param({"recipe": tiny_recipe(**SHORT, learning_rate=1.0)}, id="another rate"),
        pytest.param({"recipe": tiny_recipe(**SHORT, max_tokens=16)}, id="windows"),
    ],
)
def test_an_unfinished_run_on_other_data_or_settings_is_refused(
    other: dict[str, Any], encoder: str, tmp_path: Path, monkeypatch
) -> None:
    usual = {"recipe": tiny_recipe(**SHORT), "items": FEW, "dev": {}, "encoder": encoder}
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "save_checkpoint", dying_at(1, training.save_checkpoint, after=True)
        )
        with pytest.raises(Killed):
            train(**usual, out=out)
    with pytest.raises(InputError, match="unfinished run on other data or settings") as caught:
        train(**{**usual, **other}, out=out)
    assert str(caught.value).startswith(f"{tmp_path / 'out.training'}: ")
    assert not out.exists()
    train(**usual, out=out)
    assert out.exists()


@pytest.mark.parametrize("items", [[], [Labelled(Note("n", " \n"), (), frozenset(TYPES))]])
def test_notes_without_text_are_refused(items: list[Labelled], encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold no text"):
        train(tiny_recipe(), items, {}, encoder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(encoder: str, tmp_path: Path) -> None:
    recipe = tiny_recipe(learning_rate=1e30, warmup=0.0, batch_tokens=60)
    with pytest.raises(ClinEdgeError, match=r"diverged.*lower learning_rate") as caught:
        train(recipe, FEW, {}, encoder, tmp_path / "out")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_entities_that_cover_no_token_are_no_obstacle(encoder: str, tmp_path: Path) -> None:
    odd = Labelled(Note("n", "fever \u200d"), (Entity(Span(6, 7), "DISEASE"),), frozenset(TYPES))
    student = train(tiny_recipe(epochs=1), [odd], {"dev": [odd]}, encoder, tmp_path / "out")
    assert student.facts["dev"] == [{"epoch": 1, "strict_micro_f1": {"dev": 0.0}}]
