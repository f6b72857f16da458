"""Training that dies and goes on: the same run gives the same weights."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clin_edge.core.errors import InputError
from clin_edge.distill import train as training
from clin_edge.distill.config import HeadSettings
from clin_edge.distill.train import train
from dying import Killed, dying_at, weights
from tiny import invented_set, n_threads, tiny_encoder, tiny_recipe

FEW = invented_set(60)[:8]
SHORT = {"epochs": 2, "batch_tokens": 100, "learning_rate": 3e-2, "warmup": 0.0}


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


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    encoder: str, tmp_path: Path, unbroken: list[bytes]
) -> None:
    again = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    train(again, FEW, {"dev": FEW}, encoder, tmp_path / "again")
    assert weights(tmp_path / "again") == unbroken
    train(tiny_recipe(**SHORT, seed=2), FEW, {"dev": FEW}, encoder, tmp_path / "other")
    assert weights(tmp_path / "other") != unbroken


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
        pytest.param("take_step", 5, True, id="a step after the checkpoint"),
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


def test_a_run_in_bfloat16_is_another_one_and_goes_on_alike(
    encoder: str, tmp_path: Path, unbroken: list[bytes], monkeypatch
) -> None:
    recipe = tiny_recipe(**SHORT, checkpoint_minutes=0.0, bfloat16=True)
    said: list[str] = []
    monkeypatch.setattr(training, "bfloat16_is_slow", lambda _: True)
    train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "once", say=said.append)
    assert said[0].startswith("bfloat16: this processor only imitates it")
    assert weights(tmp_path / "once") != unbroken
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", dying_at(5, training.take_step, after=True))
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    in_float = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, bfloat16=False))
    with pytest.raises(InputError, match="on other data or settings"):
        train(in_float, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    assert weights(tmp_path / "out") == weights(tmp_path / "once")


def test_a_run_that_dies_again_and_again_gets_there_too(
    encoder: str, tmp_path: Path, unbroken: list[bytes], monkeypatch
) -> None:
    recipe = tiny_recipe(**SHORT, checkpoint_minutes=0.0)
    n_deaths, step = 0, training.take_step
    with monkeypatch.context() as patch:
        for _ in range(10):
            patch.setattr(training, "take_step", dying_at(2, step, after=True))
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
recipe = tiny_recipe(
    epochs=2, batch_tokens=100, learning_rate=3e-2, warmup=0.0, checkpoint_minutes=0.0
)
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


@pytest.mark.parametrize(
    "head",
    [HeadSettings("crf"), HeadSettings("crf", first_pieces=True, constrained=False)],
    ids=["crf", "crf on free words"],
)
def test_a_crf_goes_on_too(head: HeadSettings, encoder: str, tmp_path: Path, monkeypatch) -> None:
    recipe = tiny_recipe(**SHORT, head=head, checkpoint_minutes=0.0)
    train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", dying_at(5, training.take_step, after=True))
        with pytest.raises(Killed):
            train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    train(recipe, FEW, {"dev": FEW}, encoder, tmp_path / "out")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


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
